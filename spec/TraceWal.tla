------------------------------ MODULE TraceWal -----------------------------
(* Whether the specification has a behaviour that a real log has shown: `spec/check --trace`. The  *)
(* trace is what each thread told its probe, in order. A step of `Wal` that the code tells of may  *)
(* be taken only if that is what its thread tells next; a step that it does not tell of, any time. *)
(* TLC looks for a state in which everything has been told.                                        *)
(*                                                                                                 *)
(* What one thread tells is in order; between threads, the order in the file is that of the calls  *)
(* of the probe, shortly before or after the steps. `Window` says how far it may be off.           *)
EXTENDS Wal

CONSTANTS
    Trace,          \* writer -> <<line in the file, event, numbers ...>>
    Window          \* an event that far behind the oldest untold one does not happen yet

VARIABLE told       \* writer -> how much of it has happened

Woken(w) == {q \in Registered \ {w} : regs'[q] = NoNeed}
Wakes(W) == IF W = {} THEN <<>> ELSE << <<"Wake", Cardinality(W)>> >>
HandsOver(w) == IF handed' = handed THEN <<>> ELSE << <<"HandOver", loc[w].gen>> >>
If(holds, event) == IF holds THEN <<event>> ELSE <<>>

\* What the code tells of the step that `w` takes.
Tells(w) ==
    LET l == loc[w] IN
    CASE pc[w] = "rBase" -> << <<"Reserve", l.gen, loc'[w].lsn, l.len>> >>
      [] pc[w] = "commit" -> << <<"Commit", l.gen, l.lsn, l.len>> >>
      [] pc[w] = "late" -> HandsOver(w)
      [] pc[w] = "s1" -> << <<"Seal", l.gen, l.at>> >>
      [] pc[w] = "s5" -> HandsOver(w)
      [] pc[w] = "a3" -> << <<"Activate", l.tgt, l.nb>> >>
      [] pc[w] = "tell" ->
           LET served == IF l.act THEN Served ELSE {} IN Wakes(served) \o Wakes(Woken(w) \ served)
      [] pc[w] = "L3" -> IF frames' = frames THEN <<>> ELSE << <<"Write", frames'[Len(frames')].base>> >>
      [] pc[w] = "L4" -> If(pc'[w] = "L5" /\ loc'[w].prog, <<"Publish", written', durable>>)
      [] pc[w] = "L5" -> If(pc'[w] = "L6", <<"Sync", written>>)
      [] pc[w] = "L6" -> << <<"Publish", written, durable'>> >>
      [] pc[w] = "L8" -> If(pc'[w] = "r2", <<"Recycle", Head(held).gen>>) \o Wakes(Woken(w))
      [] pc[w] = "LPoison" -> << <<"Poison">> >>
      [] OTHER -> Wakes(Woken(w))

Rests(w) == told[w] = Len(Trace[w])
Oldest == SetMin({Trace[w][told[w] + 1][1] : w \in {w \in Writers : ~Rests(w)}})
Appends(w) == \E i \in told[w] + 1 .. Len(Trace[w]) : Trace[w][i][2] \in {"Reserve", "Seal"}

\* Steps that nobody else can tell, and writes, since the sinks of traces block: taken at once, so
\* that TLC does not try all orders of them.
Urgent(w) == pc[w] \in {"copy", "appended"}
Writing == \E f \in 1 .. Len(frames) : frames[f].st = "flight"

TraceStep(w) ==
    /\ ~Writing
    /\ Urgent(w) \/ \A q \in Writers : ~Urgent(q)
    /\ pc[w] = "idle" => Appends(w)
    /\ Step(w)
    /\ LET tells == Tells(w) IN
       /\ told[w] + Len(tells) <= Len(Trace[w])
       /\ \A i \in 1 .. Len(tells) : Tail(Trace[w][told[w] + i]) = tells[i]
       /\ tells # <<>> => Trace[w][told[w] + 1][1] < Oldest + Window
       /\ told' = [told EXCEPT ![w] = @ + Len(tells)]

TraceNext == (\E w \in Writers : TraceStep(w)) \/ (SinkWrite /\ UNCHANGED told)
TraceSpec == Init /\ told = [w \in Writers |-> 0] /\ [][TraceNext]_<<vars, told>>

NotAccepted == \E w \in Writers : ~Rests(w)

\* What bears on what comes: not the bytes, nor what only invariants look at.
View == <<words, marks, desk, pipe, [f \in 1 .. Len(frames) |-> frames[f].st], pc, loc, told>>
=============================================================================
