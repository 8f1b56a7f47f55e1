------------------------------- MODULE SIMWal ------------------------------
(* For random simulation: `spec/check --sim`. What ends much (a crash, a failure) is made rare, so *)
(* that something has happened before. Now and then a writer sleeps, so that it finds itself far   *)
(* behind the others. What a behaviour has come by is told at its end.                             *)
EXTENDS Wal

VARIABLES
    seen,           \* what this behaviour has come by
    nap             \* writer -> how many steps it sleeps yet

\* What simulation must come by, and whether this state is it.
Kinds == {
    <<"crash", phase = "down">>,
    <<"crash behind an acknowledgement", phase = "down"
        /\ \E r \in ranges : r.t \in acked /\ r.lsn >= low>>,
    <<"torn frame", phase = "down" /\ \E f \in 1 .. Len(disk) : LET d == disk[f].data IN
        d[1] # Junk /\ \E i \in 1 .. Len(d) : d[i] = Junk>>,
    <<"recovered records", life > 1 /\ phase = "up" /\ \E r \in ranges : r.gen = -1>>,
    <<"append in a second life", life > 1 /\ \E w \in Writers : pc[w] = "appended">>,
    <<"second crash", life > 1 /\ phase = "down">>,
    <<"truncation", low > 0>>,
    <<"failed write", \E f \in 1 .. Len(frames) : frames[f].st = "failed">>,
    <<"failed sync", \E f \in 1 .. Len(frames) : frames[f].st = "dropped">>,
    <<"poison", poisoned>>,
    <<"direct frame written", \E f \in 1 .. Len(frames) :
        frames[f].slot = -1 /\ frames[f].gen >= 0 /\ frames[f].st \in {"written", "durable"}>>,
    <<"direct frame refused", ~poisoned /\ \E w \in Writers : pc[w] = "abandon">>,
    <<"direct frame given up", pawait /\ pnext \in abandoned>>,
    <<"abort", \E w \in Writers : loc[w].void>>,
    <<"full ring", \A s \in Slots : ~Open(s) /\ fill[s] # QUEUED>>,
    <<"wait for space", \E w \in Writers : regs[w].k = "S">>,
    <<"stale writer", \E w \in Writers : pc[w] = "rRaise">>,
    <<"stragglers", \E s \in Slots : SEALED \div 2 < fill[s] /\ fill[s] < SEALED>>,
    <<"two rotations", \E w, q \in Writers : w # q
        /\ pc[w] \in {"s1", "s2", "s3", "s4", "s5"} /\ pc[q] \in {"s1", "s2", "s3", "s4", "s5"}>>,
    <<"write started and left", \E w \in Writers : Starting(w) /\ flights # <<>> /\ pc[w] = "LStarted">>,
    <<"commit counted too early", \E w \in Writers : pc[w] = "late">>,
    <<"writes out of order", \E i, j \in 1 .. Len(flights) : i < j /\ ~Finished(i) /\ Finished(j)>>}
Here == {kind[1] : kind \in {kind \in Kinds : kind[2]}}

OneIn(n) == RandomElement(1 .. n) = 1

\* Who sleeps is woken early if all others wait for it.
Awake(w) == nap[w] = 0 \/ \A q \in Writers \ {w} :
    nap[q] > 0 \/ pc[q] \in {"park", "dead"} \/ (pc[q] = "idle" /\ ops[q] >= MaxOps)

SimNext ==
    /\ \/ \E w \in Writers : Awake(w) /\ Step(w)
       \/ SinkWrite
       \/ OneIn(10) /\ TruncateBefore
       \/ OneIn(40) /\ SinkError
       \/ OneIn(100) /\ Crash
       \/ Recover
       \/ Rest
    /\ seen' = seen \cup Here'
    /\ nap' = [w \in Writers |->
         IF pc'[w] # pc[w] THEN IF OneIn(40) THEN RandomElement({10, 100, 400}) ELSE 0
         ELSE IF nap[w] > 0 THEN nap[w] - 1 ELSE 0]
SimSpec == Init /\ seen = {} /\ nap = [w \in Writers |-> 0] /\ [][SimNext]_<<vars, seen, nap>>

\* Of what a crash may leave, one at random: with many frames they are too many to list.
RECURSIVE Outcome(_)
Outcome(fs) == IF fs = <<>> THEN <<>>
               ELSE LET left == Leavings(Head(fs)) IN
                    (IF left = {} THEN <<>> ELSE <<RandomElement(left)>>) \o Outcome(Tail(fs))
OneOutcome(fs) == {Outcome(fs)}

\* A behaviour that is over need not be followed further: it tells what it came by.
Going == ENABLED Rest => PrintT(<<"came by", seen>>) /\ FALSE
=============================================================================
