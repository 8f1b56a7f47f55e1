-------------------------------- MODULE Wal --------------------------------
(* The core of the log: a ring of segments that many writers fill, and a pipeline that whoever     *)
(* waits drives to the sink. One action is one access to shared memory, one critical section of    *)
(* the desk, or one call of the sink. README.md says which function each action stands for.        *)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
    Writers,        \* the threads: each appends, waits and, if nobody else does, leads
    NSeg,           \* segments of the ring
    NStripes,       \* stripes of a segment's count of committed units
    Cap,            \* units of a segment; its header takes none
    Lens,           \* lengths of records that go through the ring
    DirectLens,     \* lengths of frames written directly
    MaxOps,         \* operations of each writer
    MaxDirect,      \* direct frames in all
    Depth,          \* writes in flight at once
    EachDurable,    \* whether the sink syncs while others are in flight
    Starts,         \* whether whoever completes a segment has its write started
    MaxErrors,      \* failing writes and syncs
    MaxRefusals,    \* refusals without harm (disk full)
    MaxCrashes,
    MaxTruncates,
    Lives,          \* how often the log is opened
    MayAbort,       \* whether a reservation may be dropped
    Waits,          \* subset of {"none", "sync"}: what follows an append
    Mutant          \* "none", or the fault that is switched on

NoOne == "no one"
Junk == [t |-> <<>>, lsn |-> -1, i |-> 0, len |-> 0]
NoNeed == [k |-> "none", v |-> 0, e |-> 0]
SEALED == 100       \* the bias of a sealed segment's fill
QUEUED == 1000      \* the fill of a free segment
DEEP == -2          \* why a leader submits no more: as many writes as allowed are in flight
Slots == 0 .. NSeg - 1
Stripes == 1 .. NStripes
Slot(gen) == gen % NSeg
Max(a, b) == IF a > b THEN a ELSE b
SetMax(S) == CHOOSE x \in S : \A y \in S : y <= x
SetMin(S) == CHOOSE x \in S : \A y \in S : x <= y
RECURSIVE SumLen(_)
SumLen(S) == IF S = {} THEN 0 ELSE LET x == CHOOSE x \in S : TRUE IN x.len + SumLen(S \ {x})

VARIABLES
    \* The ring (wal-core/src/segment).
    tail,           \* slot -> [gen, pos]: the life, and units reserved; closed if pos > Cap
    stripe,         \* slot -> stripe -> [n, swept]: units committed, whether the sealer counted them
    fill,           \* slot -> units committed that no sealer counts in a stripe; biased once sealed
    gate,           \* slot -> arrivals
    base,           \* slot -> first stream position
    sealed,         \* slot -> where it was sealed
    direct,         \* slot -> length of the direct frame behind it
    next,           \* slot -> base of the next segment
    current,        \* the life that is, or was last, active
    full,           \* somebody has found it closed
    mem,            \* slot -> units of memory
    \* Shared by all handles (wal-core/src/shared.rs).
    poisoned, written, durable,
    \* The desk and the pipeline (wal-core/src/flush).
    leader,         \* who has the pipeline
    news, regs,     \* regs: writer -> what it is registered for
    abandoned, refusals,
    pnext,          \* the life to submit next
    pawait,         \* it is submitted, the direct frame behind it is not
    flights,        \* frames submitted and not known to be written: [f, next, done, held]
    held,           \* lives written and not free yet: [gen, base, end]
    \* The sink.
    frames,         \* all submitted: [base, end, slot, gen, data, st]
    low,            \* where the log starts
    \* The writers.
    pc, loc, ops,
    \* Ghosts and budgets.
    ranges,         \* all reserved: [lsn, len, t, gen, at]
    hi,             \* just past everything reserved
    resv,           \* slot -> units granted in its life
    handed,         \* lives handed over, each [gen, n]
    acked,          \* tags of records whose wait for durability has returned well
    disk, recovered,\* after a crash
    phase, life, used

ring == <<tail, stripe, fill, gate, base, sealed, direct, next, current, full, mem>>
words == <<tail, stripe, fill, gate, base, sealed, direct, next, current, full>>
marks == <<poisoned, written, durable>>
desk == <<leader, news, regs, abandoned, refusals>>
pipe == <<pnext, pawait, flights, held>>
sink == <<frames, low>>
ghost == <<ranges, hi, resv, handed, acked>>
world == <<disk, recovered, phase, life>>
vars == <<ring, marks, desk, pipe, sink, pc, loc, ops, ghost, world, used>>

NoLoc == [cur |-> 0, gen |-> 0, at |-> 0, len |-> 0, lsn |-> 0, i |-> 0, dl |-> 0, tgt |-> 0,
          nb |-> 0, ret |-> "", op |-> "", act |-> FALSE, ho |-> FALSE, need |-> NoNeed,
          goal |-> 0, dg |-> 0, stuck |-> -1, prog |-> FALSE, refd |-> FALSE, ref0 |-> 0,
          wcap |-> 0, nxt |-> 0, void |-> FALSE, found |-> 0, back |-> <<>>]
NoBudget == [direct |-> 0, errors |-> 0, refusals |-> 0, crashes |-> 0, truncates |-> 0]

Tail0 == [s \in Slots |-> [gen |-> s, pos |-> IF s = 0 THEN 0 ELSE Cap + 1]]
Fill0 == [s \in Slots |-> IF s = 0 THEN 0 ELSE QUEUED]
Stripe0 == [s \in Slots |-> [k \in Stripes |-> [n |-> 0, swept |-> FALSE]]]
Gate0 == [s \in Slots |-> IF s = 0 THEN 0 ELSE 1]
AtAll(x) == [s \in Slots |-> x]
Mem0 == AtAll([i \in 1 .. Cap |-> Junk])

Init ==
    /\ tail = Tail0 /\ stripe = Stripe0 /\ fill = Fill0 /\ gate = Gate0
    /\ base = AtAll(0) /\ sealed = AtAll(0)
    /\ direct = AtAll(0) /\ next = AtAll(0) /\ current = 0 /\ full = FALSE
    /\ mem = Mem0
    /\ poisoned = FALSE /\ written = 0 /\ durable = 0
    /\ leader = NoOne /\ news = FALSE /\ regs = [w \in Writers |-> NoNeed]
    /\ abandoned = {} /\ refusals = 0
    /\ pnext = 0 /\ pawait = FALSE /\ flights = <<>> /\ held = <<>>
    /\ frames = <<>> /\ low = 0
    /\ pc = [w \in Writers |-> "idle"] /\ loc = [w \in Writers |-> NoLoc]
    /\ ops = [w \in Writers |-> 0]
    /\ ranges = {} /\ hi = 0 /\ resv = [s \in Slots |-> 0] /\ handed = {} /\ acked = {}
    /\ disk = <<>> /\ recovered = <<>> /\ phase = "up" /\ life = 1 /\ used = NoBudget

----------------------------------------------------------------------------
(* Steps of one writer. *)

Open(s) == tail[s].pos <= Cap
Goto(w, to) == pc' = [pc EXCEPT ![w] = to]
Set(w, l) == loc' = [loc EXCEPT ![w] = l]
Tag(w) == <<w, ops[w]>>
Cell(t, lsn, len, i) == [t |-> t, lsn |-> lsn, i |-> i, len |-> len]
Spend(what) == used' = [used EXCEPT ![what] = @ + 1]

Satisfied(need) ==
    \/ need.k = "D" /\ (IF Mutant = "AckBeforeDurable" THEN written ELSE durable) >= need.v
    \/ need.k = "S" /\ current > need.v
    \/ need.k = "X" /\ written >= need.e

\* Wakes the writers of W, which leave the desk; `w` itself goes to `to` with `need` registered.
Wake(w, to, W, need) ==
    /\ pc' = [q \in Writers |-> IF q = w THEN to ELSE IF q \in W THEN "turn" ELSE pc[q]]
    /\ regs' = [q \in Writers |-> IF q = w THEN need ELSE IF q \in W THEN NoNeed ELSE regs[q]]

Registered == {q \in Writers : regs[q] # NoNeed}
Served == {q \in Registered : Satisfied(regs[q])}
\* One of the waiters Q to lead next: who waits for durability first, then owners of frames, then
\* for space.
Successors(Q) ==
    LET of(k) == {q \in Q : regs[q].k = k}
        first(S) == {{q} : q \in {q \in S : \A r \in S : regs[q].v <= regs[r].v}}
    IN IF of("D") # {} THEN first(of("D"))
       ELSE IF of("X") # {} THEN first(of("X"))
       ELSE IF of("S") # {} THEN first(of("S")) ELSE {{}}

Done(w) == /\ Goto(w, "idle") /\ Set(w, NoLoc) /\ ops' = [ops EXCEPT ![w] = @ + 1]

Begin(w) ==
    /\ pc[w] = "idle" /\ ops[w] < MaxOps /\ phase = "up"
    /\ IF poisoned
       THEN ops' = [ops EXCEPT ![w] = MaxOps] /\ UNCHANGED <<pc, loc, used>>
       ELSE \/ \E l \in Lens :
                 /\ Goto(w, "rLoad") /\ Set(w, [NoLoc EXCEPT !.op = "append", !.len = l])
                 /\ UNCHANGED <<ops, used>>
            \/ \E l \in DirectLens :
                 /\ used.direct < MaxDirect /\ Spend("direct")
                 /\ Goto(w, "rLoad")
                 /\ Set(w, [NoLoc EXCEPT !.op = "direct", !.len = Cap + 1, !.dl = l])
                 /\ UNCHANGED ops
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ghost, world>>

\* Reserve: load `current`. Nobody adds to a word that is known to be closed.
ReserveLoad(w) ==
    /\ pc[w] = "rLoad"
    /\ IF full
       THEN /\ Goto(w, "tell")
            /\ Set(w, [loc[w] EXCEPT !.need = [k |-> "S", v |-> current, e |-> 0], !.ret = "w0"])
       ELSE /\ Goto(w, "rAdd")
            /\ Set(w, [loc[w] EXCEPT !.cur = current, !.lsn = IF Mutant = "BaseReadFirst"
                                                              THEN base[Slot(current)] ELSE 0])
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, ghost, world, used>>

\* Reserve: closed; say so, unless a later life is active.
ReserveFull(w) ==
    /\ pc[w] = "rFull" /\ Goto(w, "rLoad") /\ UNCHANGED loc
    /\ full' = (full \/ current = loc[w].cur \/ Mutant = "FullMisplaced")
    /\ UNCHANGED <<tail, stripe, fill, gate, base, sealed, direct, next, current, mem, marks, desk,
                   pipe, sink, ops, ghost, world, used>>

\* Reserve: the addition. Granted, or the one that straddles the end, or to a closed word.
Reserve(w) ==
    LET l == loc[w]
        s == Slot(l.cur)
        t == tail[s]
        granted == IF Mutant = "GrantPastEnd" THEN t.pos < Cap /\ l.op = "append"
                   ELSE t.pos + l.len <= Cap
    IN
    /\ pc[w] = "rAdd"
    /\ tail' = [tail EXCEPT ![s].pos = IF @ + l.len > Cap THEN Cap + 1 ELSE @ + l.len]
    /\ IF ~Open(s) THEN Goto(w, "rFull") /\ UNCHANGED <<loc, hi, resv>>
       ELSE IF granted
       THEN /\ Goto(w, "rBase") /\ Set(w, [l EXCEPT !.gen = t.gen, !.at = t.pos])
            /\ hi' = hi + l.len /\ resv' = [resv EXCEPT ![s] = @ + l.len]
       ELSE /\ Goto(w, "s1")
            /\ Set(w, [l EXCEPT !.gen = t.gen, !.at = t.pos,
                                !.ret = IF l.op = "direct" THEN "claimed" ELSE "rLoad"])
            /\ hi' = hi + l.dl /\ UNCHANGED resv
    /\ UNCHANGED <<stripe, fill, gate, base, sealed, direct, next, current, full, mem, marks, desk, pipe, sink,
                   ops, ranges, handed, acked, world, used>>

\* Reserve: base and salt, after the addition.
ReserveBase(w) ==
    LET l == loc[w]
        lsn == (IF Mutant = "BaseReadFirst" THEN l.lsn ELSE base[Slot(l.gen)]) + l.at
    IN
    /\ pc[w] = "rBase"
    /\ Set(w, [l EXCEPT !.lsn = lsn, !.i = 0, !.ret = "copy"])
    /\ Goto(w, IF l.gen # l.cur /\ Mutant # "StaleGrant" THEN "rRaise"
               ELSE IF l.act \/ l.ho THEN "tell" ELSE "copy")
    /\ ranges' = ranges \cup {[lsn |-> lsn, len |-> l.len, t |-> Tag(w), gen |-> l.gen, at |-> l.at]}
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, hi, resv, handed, acked, world, used>>

\* A later life is not known to be full.
Raise(gen) == current' = Max(current, gen) /\ full' = (full /\ gen <= current)

\* Reserve: granted in a later life than the one looked for, whose activator may not have come to
\* raise `current` yet.
ReserveRaise(w) ==
    /\ pc[w] = "rRaise" /\ Raise(loc[w].gen)
    /\ Goto(w, IF loc[w].act \/ loc[w].ho THEN "tell" ELSE "copy") /\ UNCHANGED loc
    /\ UNCHANGED <<tail, stripe, fill, gate, base, sealed, direct, next, mem, marks, desk, pipe, sink, ops,
                   ghost, world, used>>

\* Copy: one unit.
Copy(w) ==
    LET l == loc[w] IN
    /\ pc[w] = "copy"
    /\ mem' = [mem EXCEPT ![Slot(l.gen)] = [j \in 1 .. Cap |->
                 IF j = l.at + l.i + 1 THEN Cell(Tag(w), l.lsn, l.len, l.i + 1) ELSE @[j]]]
    /\ IF l.i + 1 = l.len THEN Goto(w, "commit") /\ Set(w, [l EXCEPT !.i = 0])
       ELSE Set(w, [l EXCEPT !.i = @ + 1]) /\ UNCHANGED pc
    /\ UNCHANGED <<words, marks, desk, pipe, sink, ops, ghost, world, used>>

\* Abort: a dropped reservation becomes a void record.
Abort(w) ==
    LET l == loc[w] IN
    /\ MayAbort /\ pc[w] = "copy"
    /\ mem' = [mem EXCEPT ![Slot(l.gen)] = [j \in 1 .. Cap |->
                 IF j > l.at /\ j <= l.at + l.len THEN Cell(Tag(w), l.lsn, l.len, j - l.at) ELSE @[j]]]
    /\ Goto(w, "commit") /\ Set(w, [l EXCEPT !.i = 0, !.void = TRUE])
    /\ UNCHANGED <<words, marks, desk, pipe, sink, ops, ghost, world, used>>

\* HandOver: the segment is complete. Part of the addition to `fill` that makes it so.
HandOver(gen) ==
    handed' = LET n == Cardinality({h \in handed : h.gen = gen})
              IN handed \cup {[gen |-> gen, n |-> n + 1]}

\* Commit: the addition to a stripe, any; what its sealer has counted already needs one more.
Commit(w) ==
    LET l == loc[w]
        s == Slot(l.gen)
    IN
    /\ pc[w] = "commit"
    /\ \E k \in Stripes :
         /\ stripe' = [stripe EXCEPT ![s][k].n = @ + l.len]
         /\ IF stripe[s][k].swept /\ Mutant # "CommitTooLate"
            THEN Goto(w, "late") /\ UNCHANGED loc
            ELSE /\ Goto(w, "appended")
                 /\ Set(w, [l EXCEPT !.ho = FALSE, !.act = FALSE, !.ret = "appended", !.void = FALSE])
    /\ UNCHANGED <<tail, fill, gate, base, sealed, direct, next, current, full, mem, marks, desk, pipe,
                   sink, ops, ghost, world, used>>

\* Commit: the addition to `fill`; whoever leaves last hands over.
CommitLate(w) ==
    LET l == loc[w]
        s == Slot(l.gen)
        last == fill[s] + l.len = SEALED
    IN
    /\ pc[w] = "late"
    /\ fill' = [fill EXCEPT ![s] = @ + l.len]
    /\ IF last THEN HandOver(l.gen) ELSE UNCHANGED handed
    /\ Set(w, [l EXCEPT !.ho = last, !.act = FALSE, !.ret = "appended", !.void = FALSE])
    /\ Goto(w, IF last THEN "tell" ELSE "appended")
    /\ UNCHANGED <<tail, stripe, gate, base, sealed, direct, next, current, full, mem, marks, desk, pipe,
                   sink, ops, ranges, hi, resv, acked, world, used>>

\* What a writer's step obliges it to: one critical section. If nobody leads, it leads itself, as far
\* as that goes without waiting, where the sink starts writes; `back` is what it goes on with.
Tell(w) ==
    LET l == loc[w]
        served == IF l.act THEN Served ELSE {}
        rest == [l EXCEPT !.act = FALSE, !.ho = FALSE]
        starts == Starts /\ l.ho /\ leader = NoOne
    IN
    /\ pc[w] = "tell"
    /\ Set(w, IF starts THEN [NoLoc EXCEPT !.back = <<rest>>] ELSE rest)
    /\ IF starts
       THEN /\ leader' = w /\ news' = FALSE /\ Wake(w, "L0", served, regs[w])
       ELSE IF l.ho /\ leader = NoOne
       THEN /\ \E n \in Successors(Registered \ served) : Wake(w, l.ret, served \cup n, regs[w])
            /\ UNCHANGED <<leader, news>>
       ELSE /\ Wake(w, l.ret, served, regs[w])
            /\ news' = (news \/ l.ho) /\ UNCHANGED leader
    /\ UNCHANGED <<ring, marks, pipe, sink, abandoned, refusals, ops, ghost, world, used>>

\* The append has returned: what next.
Appended(w) ==
    /\ pc[w] = "appended"
    /\ \/ "none" \in Waits /\ Done(w)
       \/ "sync" \in Waits /\ Goto(w, "n1") /\ UNCHANGED <<loc, ops>>
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ghost, world, used>>

----------------------------------------------------------------------------
(* Seal and activate: a rotation in its steps. `l.gen` is the life, `l.at` where it ends. *)

SealStore(w) ==
    LET l == loc[w]
        s == Slot(l.gen)
        end == base[s] + l.at
    IN
    /\ pc[w] = "s1" /\ Goto(w, "s2")
    /\ sealed' = [sealed EXCEPT ![s] = l.at]
    /\ direct' = [direct EXCEPT ![s] = l.dl]
    /\ next' = [next EXCEPT ![s] = end + l.dl]
    /\ Set(w, [l EXCEPT !.lsn = end])
    /\ ranges' = IF l.dl = 0 THEN ranges
                 ELSE ranges \cup {[lsn |-> end, len |-> l.dl + (IF Mutant = "ClaimTooShort" THEN 1 ELSE 0), t |-> Tag(w), gen |-> l.gen, at |-> Cap + 1]}
    /\ UNCHANGED <<tail, stripe, fill, gate, base, current, full, mem, marks, desk, pipe, sink, ops,
                   hi, resv, handed, acked, world, used>>

\* A poisoned log does not rotate.
SealMayRotate(w) ==
    /\ pc[w] = "s2" /\ Goto(w, IF poisoned THEN "s4" ELSE "s3")
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, loc, ops, ghost, world, used>>

\* Arrive at the next segment's gate; who comes second activates.
SealArrive(w) ==
    LET l == loc[w]
        s == Slot(l.gen + 1)
    IN
    /\ pc[w] = "s3"
    /\ gate' = [gate EXCEPT ![s] = @ + 1]
    /\ IF gate[s] = 0 THEN Goto(w, "s4") /\ UNCHANGED loc
       ELSE /\ Goto(w, "a1")
            /\ Set(w, [l EXCEPT !.tgt = l.gen + 1, !.nb = next[Slot(l.gen)], !.act = TRUE])
    /\ UNCHANGED <<tail, stripe, fill, base, sealed, direct, next, current, full, mem, marks, desk, pipe, sink,
                   ops, ghost, world, used>>

\* Count the stripes, one after the other; who adds to one later adds to `fill`, too.
SealSweep(w) ==
    LET l == loc[w]
        s == Slot(l.gen)
    IN
    /\ pc[w] = "s4"
    /\ Set(w, [l EXCEPT !.i = (@ + 1) % NStripes, !.found = @ + stripe[s][l.i + 1].n])
    /\ stripe' = [stripe EXCEPT ![s][l.i + 1].swept = Mutant # "SweptInSilence"]
    /\ Goto(w, IF l.i + 1 = NStripes THEN "s5" ELSE "s4")
    /\ UNCHANGED <<tail, fill, gate, base, sealed, direct, next, current, full, mem, marks, desk, pipe,
                   sink, ops, ghost, world, used>>

\* Add the bias: from here on the segment can be complete.
SealFill(w) ==
    LET l == loc[w]
        s == Slot(l.gen)
        reserved == IF Mutant = "SealForgetsStragglers" THEN fill[s] + l.found ELSE l.at
        last == fill[s] + l.found = reserved
    IN
    /\ pc[w] = "s5"
    /\ fill' = [fill EXCEPT ![s] = @ + SEALED - reserved + l.found]
    /\ IF last \/ Mutant = "HandOverTwice" THEN HandOver(l.gen) ELSE UNCHANGED handed
    /\ Set(w, [l EXCEPT !.ho = (@ \/ last), !.found = 0])
    /\ Goto(w, IF l.ret = "rLoad" THEN "rLoad" ELSE IF l.ret = "L3" THEN "LSealed" ELSE "tell")
    /\ UNCHANGED <<tail, stripe, gate, base, sealed, direct, next, current, full, mem, marks, desk, pipe,
                   sink, ops, ranges, hi, resv, acked, world, used>>

\* Activate: the place, for whoever is granted.
ActivatePlace(w) ==
    LET l == loc[w] s == Slot(l.tgt) IN
    /\ pc[w] = "a1" /\ Goto(w, "a2") /\ UNCHANGED loc
    /\ base' = IF Mutant = "BaseAfterActivation" THEN base ELSE [base EXCEPT ![s] = l.nb]
    /\ UNCHANGED <<tail, stripe, fill, gate, sealed, direct, next, current, full, mem, marks, desk, pipe, sink,
                   ops, ghost, world, used>>

\* Activate: gate, stripes and fill. Nobody looks at them before the tail is of this life.
ActivateShut(w) ==
    LET s == Slot(loc[w].tgt) IN
    /\ pc[w] = "a2" /\ Goto(w, "a3") /\ UNCHANGED loc
    /\ gate' = IF Mutant = "GateLeftOpen" THEN gate ELSE [gate EXCEPT ![s] = 0]
    /\ stripe' = [stripe EXCEPT ![s] = Stripe0[s]]
    /\ fill' = [fill EXCEPT ![s] = 0]
    /\ resv' = [resv EXCEPT ![s] = 0]
    /\ UNCHANGED <<tail, base, sealed, direct, next, current, full, mem, marks, desk, pipe, sink, ops,
                   ranges, hi, handed, acked, world, used>>

\* Activate: open the tail.
Activate(w) ==
    LET l == loc[w] IN
    /\ pc[w] = "a3" /\ Goto(w, "a4") /\ UNCHANGED loc
    /\ tail' = [tail EXCEPT ![Slot(l.tgt)] = [gen |-> l.tgt, pos |-> 0]]
    /\ UNCHANGED <<stripe, fill, gate, base, sealed, direct, next, current, full, mem, marks, desk, pipe, sink,
                   ops, ghost, world, used>>

\* Activate: raise `current`.
ActivateRaise(w) ==
    LET l == loc[w] IN
    /\ pc[w] = "a4"
    /\ IF Mutant = "CurrentStored" THEN current' = l.tgt /\ full' = FALSE ELSE Raise(l.tgt)
    /\ base' = IF Mutant = "BaseAfterActivation" THEN [base EXCEPT ![Slot(l.tgt)] = l.nb] ELSE base
    /\ Goto(w, IF l.ret = "L8" THEN "L8" ELSE "s4") /\ UNCHANGED loc
    /\ UNCHANGED <<tail, stripe, fill, gate, sealed, direct, next, mem, marks, desk, pipe, sink, ops,
                   ghost, world, used>>

----------------------------------------------------------------------------
(* `next_lsn`: the position just past everything reserved, for `sync` and `wait_durable`. *)

NextLoad(w) ==
    /\ pc[w] = "n1" /\ Goto(w, "n2") /\ Set(w, [loc[w] EXCEPT !.cur = current])
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, ghost, world, used>>

NextTail(w) ==
    LET s == Slot(loc[w].cur) IN
    /\ pc[w] = "n2" /\ Goto(w, "n3")
    /\ Set(w, [loc[w] EXCEPT !.gen = tail[s].gen, !.at = tail[s].pos, !.nb = base[s]])
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, ghost, world, used>>

NextFill(w) ==
    LET s == Slot(loc[w].cur) IN
    /\ pc[w] = "n3" /\ Goto(w, "n4")
    /\ Set(w, [loc[w] EXCEPT !.goal = fill[s], !.nxt = next[s]])
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, ghost, world, used>>

\* Whatever was loaded of a later life was stored after `current` was raised past this one.
NextAgain(w) ==
    LET l == loc[w]
        stable == current = l.cur
        answer == IF l.at <= Cap THEN l.nb + l.at ELSE l.nxt
    IN
    /\ pc[w] = "n4"
    /\ IF stable /\ (l.at <= Cap \/ l.goal > SEALED \div 2)
       THEN /\ Goto(w, "w0")
            /\ Set(w, [l EXCEPT !.nxt = answer, !.need = [k |-> "D", v |-> answer, e |-> 0],
                                !.goal = 0, !.nb = 0, !.at = 0])
       ELSE Goto(w, "n1") /\ UNCHANGED loc
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, ghost, world, used>>

----------------------------------------------------------------------------
(* Waiting. Each action is one critical section of the desk. *)

\* A direct frame is claimed: its owner waits for its turn.
Claimed(w) ==
    /\ pc[w] = "claimed" /\ Goto(w, "w0")
    /\ Set(w, [loc[w] EXCEPT !.need = [k |-> "X", v |-> loc[w].gen, e |-> loc[w].lsn + loc[w].dl]])
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, ghost, world, used>>

WaitBegin(w) ==
    /\ pc[w] = "w0" /\ Goto(w, "turn") /\ Set(w, [loc[w] EXCEPT !.ref0 = refusals])
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, ghost, world, used>>

\* All of its own records, since they are what an acknowledgement speaks of.
Ack(w) == acked' = acked \cup {r.t : r \in {r \in ranges : r.t = Tag(w)}}

\* How a wait ends badly: a claimed frame is given up, everything else just ends.
Fail(w) ==
    IF loc[w].need.k = "X" THEN Goto(w, "abandon") /\ UNCHANGED <<loc, ops>>
    ELSE Done(w)

WaitTurn(w) ==
    LET l == loc[w] IN
    /\ pc[w] = "turn"
    /\ IF Satisfied(l.need)
       THEN /\ CASE l.need.k = "D" -> Done(w) /\ Ack(w)
                 [] l.need.k = "X" -> Goto(w, "appended") /\ UNCHANGED <<loc, ops, acked>>
                 [] OTHER -> /\ Goto(w, "rLoad") /\ Set(w, [l EXCEPT !.need = NoNeed])
                             /\ UNCHANGED <<ops, acked>>
            /\ UNCHANGED <<leader, news, regs>>
       ELSE IF poisoned \/ refusals > l.ref0
       THEN Fail(w) /\ UNCHANGED <<acked, leader, news, regs>>
       ELSE IF leader = NoOne
       THEN /\ leader' = w /\ news' = FALSE /\ Goto(w, "L0")
            /\ UNCHANGED <<loc, ops, acked, regs>>
       ELSE /\ regs' = [regs EXCEPT ![w] = l.need] /\ news' = TRUE /\ Goto(w, "park")
            /\ UNCHANGED <<loc, ops, acked, leader>>
    /\ UNCHANGED <<ring, marks, pipe, sink, abandoned, refusals, ranges, hi, resv, handed, world,
                   used>>

Abandon(w) ==
    /\ pc[w] = "abandon"
    /\ abandoned' = IF Mutant = "AbandonForgotten" THEN abandoned ELSE abandoned \cup {loc[w].need.v}
    /\ news' = TRUE
    /\ \E n \in IF leader = NoOne THEN Successors(Registered) ELSE {{}} :
           Wake(w, "idle", n, NoNeed)
    /\ Set(w, NoLoc) /\ ops' = [ops EXCEPT ![w] = @ + 1]
    /\ UNCHANGED <<ring, marks, pipe, sink, leader, refusals, ghost, world, used>>

----------------------------------------------------------------------------
(* Leading. *)

\* It leads only to start what is complete, and waits for nothing.
Starting(w) == loc[w].back # <<>>

\* A round begins: is it over, what do the waiters want.
LeadRound(w) ==
    LET l == loc[w]
        wanted == {regs[q].v : q \in {q \in Registered : regs[q].k = "D"}}
                  \cup (IF l.need.k = "D" THEN {l.need.v} ELSE {}) \cup {0}
    IN
    /\ pc[w] = "L0"
    /\ IF poisoned \/ Satisfied(l.need)
       THEN Goto(w, IF Starting(w) THEN "LStarted" ELSE "LOver") /\ UNCHANGED <<loc, news>>
       ELSE /\ news' = (news /\ Starting(w)) /\ Goto(w, IF Starting(w) THEN "L3" ELSE "q1")
            /\ Set(w, [l EXCEPT !.dg = SetMax(wanted), !.stuck = -1, !.prog = FALSE, !.refd = FALSE])
    /\ UNCHANGED <<ring, marks, pipe, sink, leader, regs, abandoned, refusals, ops, ghost, world, used>>

\* Seal late: load `current`.
FlushLoad(w) ==
    /\ pc[w] = "q1" /\ Goto(w, "q2") /\ Set(w, [loc[w] EXCEPT !.cur = current])
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, ghost, world, used>>

\* Seal late: load the tail, the base and the tail again, and decide.
FlushDecide(w) ==
    LET l == loc[w]
        s == Slot(l.cur)
        t == tail[s]
    IN
    /\ pc[w] = "q2"
    /\ IF t.gen # l.cur \/ t.pos > Cap
       THEN Goto(w, "q2s") /\ UNCHANGED loc
       ELSE IF t.pos = 0 \/ base[s] >= l.dg
       THEN Goto(w, "L3") /\ UNCHANGED loc
       ELSE Goto(w, "q3") /\ Set(w, [l EXCEPT !.gen = t.gen, !.at = t.pos])
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, ghost, world, used>>

FlushStale(w) ==
    /\ pc[w] = "q2s" /\ Goto(w, IF current = loc[w].cur THEN "L3" ELSE "q1") /\ UNCHANGED loc
    /\ UNCHANGED <<ring, marks, desk, pipe, sink, ops, ghost, world, used>>

\* Seal late: the exchange.
Seal(w) ==
    LET l == loc[w]
        s == Slot(l.gen)
    IN
    /\ pc[w] = "q3"
    /\ IF tail[s] = [gen |-> l.gen, pos |-> l.at]
       THEN /\ tail' = [tail EXCEPT ![s].pos = Cap + 1]
            /\ Goto(w, "s1")
            /\ Set(w, [l EXCEPT !.dl = 0, !.ret = "L3", !.act = FALSE, !.ho = FALSE])
       ELSE Goto(w, "q1") /\ UNCHANGED <<tail, loc>>
    /\ UNCHANGED <<stripe, fill, gate, base, sealed, direct, next, current, full, mem, marks, desk, pipe, sink,
                   ops, ghost, world, used>>

\* Who leads sees for itself what it handed over; it wakes who waits for space.
LeadSealed(w) ==
    /\ pc[w] = "LSealed"
    /\ Wake(w, "L3", IF loc[w].act THEN Served ELSE {}, NoNeed)
    /\ Set(w, [loc[w] EXCEPT !.act = FALSE, !.ho = FALSE])
    /\ UNCHANGED <<ring, marks, pipe, sink, leader, news, abandoned, refusals, ops, ghost, world, used>>

Frame(b, len, s, g, data) == [base |-> b, end |-> b + len, slot |-> s, gen |-> g, data |-> data, st |-> "flight"]
Flight(f, n, d, h) == [f |-> f, next |-> n, done |-> d, held |-> h]
HeldOf(g) == [gen |-> g, base |-> base[Slot(g)], end |-> base[Slot(g)] + sealed[Slot(g)]]
NoHeld == [gen |-> -1, base |-> 0, end |-> 0]
Submit(fr, h) ==
    /\ frames' = Append(frames, fr)
    /\ flights' = Append(flights, Flight(Len(frames) + 1, fr.end, FALSE, h))

\* Who owns the frame behind life g: the claim is the range behind the segment.
Claim(g) == CHOOSE r \in ranges : r.gen = g /\ r.at = Cap + 1
Owns(w, g) == loc[w].need.k = "X" /\ loc[w].need.v = g

\* A write is over, and the leader may know; it went wrong.
Finished(i) == IF flights[i].done THEN TRUE
               ELSE frames[flights[i].f].st \in {"written", "durable", "failed"}
Failed(i) == IF flights[i].done THEN FALSE ELSE frames[flights[i].f].st = "failed"

\* Write: submit what is complete, in order, as deep as allowed. A write that is over counts until
\* it is reaped, unless it was over when submitting it returned: the sink decides. Who only starts
\* writes may have to leave one, for it would wait for a file.
Write(w) ==
    LET l == loc[w]
        s == Slot(pnext)
        complete == tail[s].gen = pnext /\ fill[s] = SEALED
        mine == pawait /\ Owns(w, pnext)
        void == pawait /\ ~mine /\ pnext \in abandoned /\ ~Starting(w)
        seg == ~pawait /\ complete
        unreaped == Cardinality({i \in 1 .. Len(flights) : ~flights[i].done})
        unfinished == Cardinality({i \in 1 .. Len(flights) : ~Finished(i)})
    IN
    /\ pc[w] = "L3"
    /\ \E deep \in {unreaped >= Depth, unfinished >= Depth}, leaves \in {FALSE, Starting(w)} :
       IF deep \/ leaves \/ ~(mine \/ void \/ seg)
       THEN /\ Goto(w, "L4")
            /\ Set(w, [l EXCEPT !.stuck = IF deep THEN DEEP ELSE IF pawait THEN pnext ELSE -1])
            /\ UNCHANGED <<frames, flights, pawait, pnext, abandoned, used, held>>
       ELSE \/ /\ used.refusals < MaxRefusals /\ (pawait \/ sealed[s] > 0)
               /\ Spend("refusals") /\ Goto(w, "L4") /\ Set(w, [l EXCEPT !.refd = TRUE])
               /\ UNCHANGED <<frames, flights, pawait, pnext, abandoned, held>>
            \/ /\ UNCHANGED <<used, loc>>
               /\ IF pawait
                  THEN LET c == Claim(pnext)
                           data == [i \in 1 .. c.len |-> Cell(c.t, c.lsn, c.len, i)]
                       IN /\ Submit(Frame(c.lsn, c.len, -1, pnext, data), NoHeld)
                          /\ pawait' = FALSE /\ pnext' = pnext + 1
                          /\ abandoned' = abandoned \ {pnext}
                          /\ Goto(w, "LDirect") /\ UNCHANGED held
                  ELSE LET h == HeldOf(pnext) IN
                       /\ IF sealed[s] = 0
                          THEN /\ flights' = Append(flights, Flight(0, h.end, TRUE, h))
                               /\ UNCHANGED <<frames, held>>
                          ELSE IF Mutant = "RecycleBeforeWritten"
                          THEN Submit(Frame(h.base, sealed[s], s, pnext, <<>>), NoHeld)
                               /\ held' = Append(held, h)
                          ELSE Submit(Frame(h.base, sealed[s], s, pnext, <<>>), h) /\ UNCHANGED held
                       /\ IF direct[s] > 0 THEN pawait' = TRUE /\ UNCHANGED pnext
                          ELSE pnext' = pnext + 1 /\ UNCHANGED pawait
                       /\ UNCHANGED <<abandoned, pc>>
    /\ UNCHANGED <<ring, marks, leader, news, regs, refusals, low, ops, ghost, world>>

\* LargeWrite: bytes on the owner's stack; wait until they are written.
LargeWrite(w) ==
    /\ pc[w] = "LDirect" /\ \A i \in 1 .. Len(flights) : Finished(i)
    /\ IF \E i \in 1 .. Len(flights) : Failed(i)
       THEN Goto(w, "LFatal") /\ UNCHANGED flights
       ELSE /\ flights' = [i \in 1 .. Len(flights) |-> [flights[i] EXCEPT !.done = TRUE]]
            /\ Goto(w, "L3")
    /\ UNCHANGED <<ring, marks, desk, pnext, pawait, held, sink, loc, ops, ghost, world, used>>

\* Reap, waiting for some write if the oldest is not over, unless it only starts writes, and publish
\* how far the written prefix goes.
PublishWritten(w) ==
    LET n == Len(flights)
        ok(i) == Finished(i) /\ ~Failed(i)
        done == IF Mutant = "WatermarkOverGap"
                THEN SetMax({0} \cup {i \in 1 .. n : ok(i)})
                ELSE SetMax({k \in 0 .. n : \A i \in 1 .. k : ok(i)})
        kept == SelectSeq([i \in 1 .. done |-> flights[i].held], LAMBDA h : h.gen >= 0)
    IN
    /\ pc[w] = "L4"
    /\ IF n = 0 \/ Starting(w) THEN TRUE
       ELSE flights[1].done \/ \E i \in 1 .. n : ~flights[i].done /\ Finished(i)
    /\ IF \E i \in 1 .. n : Failed(i)
       THEN Goto(w, "LFatal") /\ UNCHANGED <<flights, held, written, loc>>
       ELSE /\ flights' = SubSeq([i \in 1 .. n |-> [flights[i] EXCEPT !.done = ok(i)]], done + 1, n)
            /\ held' = held \o kept
            /\ written' = IF done > 0 THEN flights[done].next ELSE written
            /\ Set(w, [loc[w] EXCEPT !.prog = (done > 0)])
            /\ Goto(w, "L5")
    /\ UNCHANGED <<ring, poisoned, durable, desk, pnext, pawait, sink, ops, ghost, world, used>>

\* Sync, if somebody wants it, nothing is in flight, and there is no more to submit for it; in any
\* case where it costs nothing.
WantsSync(w) ==
    LET l == loc[w] IN
    /\ written > durable
    /\ IF Starting(w) THEN EachDurable
       ELSE /\ l.dg > durable
            /\ EachDurable \/ (flights = <<>> /\ (l.stuck # DEEP \/ written >= l.dg))
Unsynced(st) == [i \in 1 .. Len(frames) |->
                   IF frames[i].st = "written" THEN [frames[i] EXCEPT !.st = st] ELSE frames[i]]

Sync(w) ==
    /\ pc[w] = "L5"
    /\ IF WantsSync(w)
       THEN /\ frames' = IF Mutant = "PublishBeforeSync" THEN frames ELSE Unsynced("durable")
            /\ Goto(w, "L6") /\ Set(w, [loc[w] EXCEPT !.wcap = written, !.prog = TRUE])
       ELSE Goto(w, "L8") /\ UNCHANGED <<frames, loc>>
    /\ UNCHANGED <<ring, marks, desk, pipe, low, ops, ghost, world, used>>

\* The sync fails. The system has dropped the pages: no later sync brings them back.
SyncError(w) ==
    /\ pc[w] = "L5" /\ WantsSync(w) /\ used.errors < MaxErrors /\ Spend("errors")
    /\ frames' = Unsynced("dropped")
    /\ Goto(w, IF Mutant = "SyncRetried" THEN "L5" ELSE "LFatal") /\ UNCHANGED loc
    /\ UNCHANGED <<ring, marks, desk, pipe, low, ops, ghost, world>>

PublishDurable(w) ==
    /\ pc[w] = "L6" /\ durable' = loc[w].wcap /\ Goto(w, "L8")
    /\ Set(w, [loc[w] EXCEPT !.wcap = 0])
    /\ UNCHANGED <<ring, poisoned, written, desk, pipe, sink, ops, ghost, world, used>>

\* Settle: free a segment that nobody wants durable any more; then wake who is satisfied.
Recycle(w) ==
    LET l == loc[w] IN
    /\ pc[w] = "L8"
    /\ IF held # <<>> /\ ~(Head(held).end > durable /\ l.dg > Head(held).base)
       THEN /\ fill' = [fill EXCEPT ![Slot(Head(held).gen)] = QUEUED]
            /\ Set(w, [l EXCEPT !.tgt = Head(held).gen + NSeg]) /\ held' = Tail(held)
            /\ Goto(w, "r2") /\ UNCHANGED regs
            /\ tail' = IF Mutant = "FreedIsOpen"
                       THEN [tail EXCEPT ![Slot(Head(held).gen)] = [gen |-> Head(held).gen + NSeg, pos |-> 0]]
                       ELSE tail
       ELSE /\ UNCHANGED <<tail, stripe, fill, held>>
            /\ Set(w, [l EXCEPT !.tgt = 0, !.ret = "", !.nb = 0, !.gen = 0, !.at = 0, !.cur = 0])
            /\ Wake(w, IF Starting(w) THEN IF l.prog THEN "L0" ELSE "LStarted"
                       ELSE IF l.prog \/ flights # <<>> THEN "L0"
                       ELSE IF Satisfied(l.need) THEN "LOver"
                       ELSE IF l.refd THEN "LRefused" ELSE "LBlocked", Served, NoNeed)
    /\ UNCHANGED <<stripe, gate, base, sealed, direct, next, current, full, mem, marks, leader, news,
                   abandoned, refusals, pnext, pawait, flights, sink, ops, ghost, world, used>>

\* Arrive at the freed segment's gate; who comes second activates.
RecycleArrive(w) ==
    LET l == loc[w]
        s == Slot(l.tgt)
    IN
    /\ pc[w] = "r2"
    /\ IF Mutant = "RecycleForgetsGate" /\ gate[s] = 0
       THEN Goto(w, "L8") /\ UNCHANGED <<gate, loc>>
       ELSE /\ gate' = [gate EXCEPT ![s] = @ + 1]
            /\ IF gate[s] = 0 THEN Goto(w, "L8") /\ UNCHANGED loc
               ELSE Goto(w, "a1") /\ Set(w, [l EXCEPT !.nb = next[Slot(l.tgt - 1)], !.ret = "L8"])
    /\ UNCHANGED <<tail, stripe, fill, base, sealed, direct, next, current, full, mem, marks, desk, pipe, sink,
                   ops, ghost, world, used>>

\* Step down: put the pipeline back and register, unless there is news.
StepDown(w) ==
    LET l == loc[w]
        owner == {q \in Registered : regs[q].k = "X" /\ regs[q].v = l.stuck}
    IN
    /\ pc[w] = "LBlocked"
    /\ IF news /\ Mutant # "NewsIgnored"
       THEN Goto(w, "L0") /\ UNCHANGED <<leader, regs, news>>
       ELSE /\ leader' = NoOne /\ news' = TRUE
            /\ Wake(w, "park", owner, l.need)
    /\ UNCHANGED <<ring, marks, pipe, sink, abandoned, refusals, loc, ops, ghost, world, used>>

\* What could be started is: put the pipeline back, wake one who leads next, and go on.
Started(w) ==
    LET l == loc[w].back[1] IN
    /\ pc[w] = "LStarted" /\ leader' = NoOne /\ Set(w, l)
    /\ \E n \in (IF Mutant = "StartedInSilence" THEN {{}} ELSE Successors(Registered)) :
           Wake(w, l.ret, n, regs[w])
    /\ UNCHANGED <<ring, marks, pipe, sink, news, abandoned, refusals, ops, ghost, world, used>>

\* Hand on: put the pipeline back and wake one who leads next.
HandOn(w) ==
    /\ pc[w] = "LOver"
    /\ leader' = NoOne
    /\ \E n \in (IF Mutant = "NoSuccessor" THEN {{}} ELSE Successors(Registered)) : Wake(w, "turn", n, NoNeed)
    /\ UNCHANGED <<ring, marks, pipe, sink, news, abandoned, refusals, loc, ops, ghost, world, used>>

\* Refused without harm: everyone who waits is told.
Refuse(w) ==
    LET x == loc[w].need.k = "X" IN
    /\ pc[w] = "LRefused"
    /\ leader' = NoOne /\ refusals' = refusals + 1
    /\ Wake(w, IF x THEN "abandon" ELSE "idle", Registered, NoNeed)
    /\ IF x THEN UNCHANGED <<loc, ops>>
       ELSE Set(w, NoLoc) /\ ops' = [ops EXCEPT ![w] = @ + 1]
    /\ UNCHANGED <<ring, marks, pipe, sink, news, abandoned, ghost, world, used>>

\* After a SinkError: drain what is in flight, then poison, then wake everybody.
Drain(w) ==
    /\ pc[w] = "LFatal" /\ \A i \in 1 .. Len(flights) : Finished(i)
    /\ flights' = <<>> /\ Goto(w, "LPoison")
    /\ UNCHANGED <<ring, marks, desk, pnext, pawait, held, sink, loc, ops, ghost, world, used>>

Poison(w) ==
    /\ pc[w] = "LPoison" /\ poisoned' = TRUE /\ Goto(w, "LPoisoned")
    /\ durable' = IF Mutant = "WatermarkBack" THEN 0 ELSE durable
    /\ UNCHANGED <<ring, written, desk, pipe, sink, loc, ops, ghost, world, used>>

PoisonWake(w) ==
    /\ pc[w] = "LPoisoned"
    /\ Wake(w, IF Starting(w) THEN "LStarted" ELSE "LOver", Registered, NoNeed)
    /\ poisoned' = (Mutant # "PoisonForgotten")
    /\ UNCHANGED <<ring, written, durable, pipe, sink, leader, news, abandoned, refusals, loc, ops, ghost, world, used>>

----------------------------------------------------------------------------
(* The sink and the world. *)

\* A write is over: the memory has been read.
SinkWrite ==
    \E f \in 1 .. Len(frames) :
        /\ phase = "up" /\ frames[f].st = "flight"
        /\ frames' = [frames EXCEPT ![f].st = "written", ![f].data =
             IF @ # <<>> THEN @
             ELSE [i \in 1 .. frames[f].end - frames[f].base |-> mem[frames[f].slot][i]]]
        /\ UNCHANGED <<ring, marks, desk, pipe, low, pc, loc, ops, ghost, world, used>>

\* A write fails, and is over.
WriteError ==
    \E f \in 1 .. Len(frames) :
        /\ phase = "up" /\ frames[f].st = "flight"
        /\ used.errors < MaxErrors /\ Spend("errors")
        /\ frames' = [frames EXCEPT ![f].st = "failed"]
        /\ UNCHANGED <<ring, marks, desk, pipe, low, pc, loc, ops, ghost, world>>

SinkError == WriteError \/ \E w \in Writers : SyncError(w)

\* Whole files before a position that is durable are removed.
TruncateBefore ==
    /\ phase = "up" /\ used.truncates < MaxTruncates
    /\ \E f \in 1 .. Len(frames) :
         /\ frames[f].end > low /\ frames[f].end <= (IF Mutant = "TruncateUnsynced" THEN hi ELSE durable)
         /\ low' = frames[f].end
    /\ Spend("truncates")
    /\ UNCHANGED <<ring, marks, desk, pipe, frames, pc, loc, ops, ghost, world>>

\* What a crash may leave of a frame: all, nothing, a first part, or the rest without it.
Leavings(f) ==
    LET n == f.end - f.base
        now == IF f.data # <<>> THEN f.data
               ELSE IF f.slot >= 0 THEN [i \in 1 .. n |-> mem[f.slot][i]] ELSE [i \in 1 .. n |-> Junk]
        cut(keep(_)) == [f EXCEPT !.data = [i \in 1 .. n |-> IF keep(i) THEN now[i] ELSE Junk]]
        all(i) == TRUE  none(i) == FALSE  front(i) == i = 1  rest(i) == i # 1
    IN IF f.end <= low THEN {}
       ELSE IF f.st = "durable" THEN {cut(all)}
       ELSE {cut(all), cut(none), cut(front), cut(rest)}

RECURSIVE Outcomes(_)
Outcomes(fs) == IF fs = <<>> THEN {<<>>}
                ELSE LET tails == Outcomes(Tail(fs)) IN
                     IF Leavings(Head(fs)) = {} THEN tails
                     ELSE {<<a>> \o b : a \in Leavings(Head(fs)), b \in tails}

CellAt(d, p) ==
    LET fs == {i \in 1 .. Len(d) : d[i].base <= p /\ p < d[i].end} IN
    IF fs = {} THEN Junk ELSE LET i == SetMax(fs) IN d[i].data[p - d[i].base + 1]

\* Recovery: records in order up to the first position that does not read well.
Reads(d, p) ==
    LET c == CellAt(d, p) IN
    /\ c.i = 1 /\ c.lsn = p
    /\ \/ Mutant = "TornVisible"
       \/ \A i \in 1 .. c.len : CellAt(d, p + i - 1) = Cell(c.t, p, c.len, i)
RECURSIVE Walk(_, _, _)
Walk(d, p, end) ==
    IF p >= end THEN <<>>
    ELSE IF Reads(d, p)
    THEN LET c == CellAt(d, p) IN <<[t |-> c.t, lsn |-> p, len |-> c.len]>> \o Walk(d, p + c.len, end)
    ELSE IF Mutant = "RecoverOverGap" THEN Walk(d, p + 1, end) ELSE <<>>

Crash ==
    /\ phase = "up" /\ used.crashes < MaxCrashes /\ Spend("crashes")
    /\ \E d \in Outcomes(frames) : disk' = d /\ recovered' = Walk(d, low, hi)
    /\ phase' = "down" /\ UNCHANGED life
    /\ pc' = [w \in Writers |-> "dead"] /\ loc' = [w \in Writers |-> NoLoc]
    \* Memory is gone: one state for all that it may have held.
    /\ tail' = Tail0 /\ stripe' = Stripe0 /\ fill' = Fill0 /\ gate' = Gate0 /\ base' = AtAll(0) /\ sealed' = AtAll(0)
    /\ direct' = AtAll(0) /\ next' = AtAll(0) /\ current' = 0 /\ full' = FALSE
    /\ mem' = Mem0
    /\ poisoned' = FALSE /\ written' = 0 /\ durable' = 0
    /\ leader' = NoOne /\ news' = FALSE /\ regs' = [w \in Writers |-> NoNeed]
    /\ abandoned' = {} /\ refusals' = 0
    /\ pnext' = 0 /\ pawait' = FALSE /\ flights' = <<>> /\ held' = <<>>
    /\ frames' = <<>> /\ resv' = [s \in Slots |-> 0] /\ handed' = {} /\ hi' = 0
    /\ UNCHANGED <<low, ranges, acked, ops>>

\* The next life: what was recovered is durable, and the stream goes on behind it.
Recover ==
    LET end == IF recovered = <<>> THEN low
               ELSE recovered[Len(recovered)].lsn + recovered[Len(recovered)].len
    IN
    /\ phase = "down" /\ life < Lives
    /\ phase' = "up" /\ life' = life + 1
    /\ tail' = Tail0 /\ stripe' = Stripe0 /\ fill' = Fill0 /\ gate' = Gate0 /\ base' = AtAll(end) /\ sealed' = AtAll(0)
    /\ direct' = AtAll(0) /\ next' = AtAll(end) /\ current' = 0 /\ full' = FALSE
    /\ mem' = Mem0
    /\ poisoned' = FALSE /\ written' = end /\ durable' = end /\ hi' = end
    /\ frames' = [i \in 1 .. Len(recovered) |-> LET r == recovered[i] IN
         [base |-> r.lsn, end |-> r.lsn + r.len, slot |-> -1, gen |-> -1, st |-> "durable",
          data |-> [j \in 1 .. r.len |-> Cell(r.t, r.lsn, r.len, j)]]]
    /\ ranges' = {[lsn |-> recovered[i].lsn, len |-> recovered[i].len, t |-> recovered[i].t,
                   gen |-> -1, at |-> recovered[i].lsn] : i \in 1 .. Len(recovered)}
    /\ pc' = [w \in Writers |-> "idle"] /\ disk' = <<>> /\ recovered' = <<>>
    /\ ops' = [w \in Writers |-> IF ops[w] < MaxOps THEN ops[w] + 1 ELSE MaxOps]
    /\ UNCHANGED <<desk, pipe, low, loc, resv, handed, acked, used>>

----------------------------------------------------------------------------
Append_(w) == Begin(w) \/ ReserveLoad(w) \/ ReserveFull(w) \/ Reserve(w)
              \/ ReserveBase(w) \/ ReserveRaise(w) \/ Copy(w) \/ Abort(w) \/ Commit(w)
              \/ CommitLate(w) \/ Tell(w)
              \/ Appended(w)
Rotate(w) == SealStore(w) \/ SealMayRotate(w) \/ SealArrive(w) \/ SealSweep(w) \/ SealFill(w)
             \/ ActivatePlace(w)
             \/ ActivateShut(w) \/ Activate(w) \/ ActivateRaise(w)
WaitDurable(w) == NextLoad(w) \/ NextTail(w) \/ NextFill(w) \/ NextAgain(w) \/ Claimed(w)
                  \/ WaitBegin(w) \/ WaitTurn(w) \/ Abandon(w)
Publish(w) == PublishWritten(w) \/ PublishDurable(w)
Lead(w) == LeadRound(w) \/ FlushLoad(w) \/ FlushDecide(w) \/ FlushStale(w) \/ Seal(w)
           \/ LeadSealed(w) \/ Write(w) \/ LargeWrite(w) \/ Publish(w) \/ Sync(w)
           \/ Recycle(w) \/ RecycleArrive(w) \/ StepDown(w) \/ Started(w) \/ HandOn(w) \/ Refuse(w)
           \/ Drain(w) \/ Poison(w) \/ PoisonWake(w)
Step(w) == Append_(w) \/ Rotate(w) \/ WaitDurable(w) \/ Lead(w)

\* All is done, or all is down: not a deadlock.
Rest ==
    /\ \/ phase = "down" /\ life >= Lives
       \/ \A w \in Writers : pc[w] = "idle" /\ ops[w] >= MaxOps
    /\ UNCHANGED vars

Next == (\E w \in Writers : Step(w)) \/ SinkWrite \/ SinkError \/ TruncateBefore \/ Crash \/ Recover \/ Rest
Spec == Init /\ [][Next]_vars
Fair == /\ \A w \in Writers : WF_vars(Step(w))
        /\ WF_vars(SinkWrite \/ SinkError)
LiveSpec == Spec /\ Fair

----------------------------------------------------------------------------
(* Safety. *)

Pcs == {"idle", "rLoad", "rFull", "rAdd", "rBase", "rRaise", "copy", "commit", "late", "tell",
        "appended", "s1", "s2", "s3", "s4", "s5", "a1", "a2", "a3", "a4", "n1", "n2", "n3", "n4",
        "claimed", "w0", "turn", "park", "abandon", "L0", "q1", "q2", "q2s", "q3", "LSealed",
        "L3", "LDirect", "L4", "L5", "L6", "L8", "r2", "LBlocked", "LStarted", "LOver", "LRefused", "LFatal",
        "LPoison", "LPoisoned", "dead"}

TypeOK ==
    /\ \A s \in Slots :
         /\ tail[s].gen \in Nat /\ Slot(tail[s].gen) = s /\ tail[s].pos \in 0 .. Cap + 1
         /\ \A k \in Stripes : stripe[s][k].n \in 0 .. Cap /\ stripe[s][k].swept \in BOOLEAN
         /\ fill[s] \in (0 .. Cap) \cup (SEALED - Cap .. SEALED) \cup {QUEUED}
         /\ gate[s] \in 0 .. 2
         /\ sealed[s] \in 0 .. Cap /\ base[s] \in Nat /\ next[s] \in Nat
         /\ direct[s] \in {0} \cup DirectLens
    /\ current \in Nat /\ full \in BOOLEAN /\ pnext \in Nat
    /\ poisoned \in BOOLEAN /\ news \in BOOLEAN /\ pawait \in BOOLEAN
    /\ leader \in Writers \cup {NoOne}
    /\ \A w \in Writers : pc[w] \in Pcs /\ ops[w] \in 0 .. MaxOps
    /\ Len(flights) <= 2 * NSeg
    /\ Cardinality({i \in 1 .. Len(flights) : ~Finished(i)}) <= Depth
    /\ \A f \in 1 .. Len(frames) :
         frames[f].st \in {"flight", "written", "durable", "failed", "dropped"}

Rotating == \E w \in Writers : pc[w] \in {"s1", "s2", "s3", "a1", "a2", "a3", "r2"}

OnlyOneActive ==
    LET active == {s \in Slots : Open(s)} IN
    /\ Cardinality(active) <= 1
    /\ active = {} /\ ~Rotating /\ ~poisoned /\ phase = "up" =>
         LET last == SetMax({tail[s].gen : s \in {s \in Slots : fill[s] # QUEUED} }) IN
         fill[Slot(last + 1)] # QUEUED

\* Where a writer is with its own work.
Own(w) == IF Starting(w) THEN loc[w].back[1] ELSE loc[w]

\* Writers in flight, as the words say, are those that hold a grant.
Holding(s) == {w \in Writers : /\ Slot(Own(w).gen) = s
                              /\ \/ pc[w] \in {"rBase", "rRaise", "copy", "commit", "late"}
                                 \/ (pc[w] = "tell" \/ Starting(w)) /\ Own(w).ret = "copy"}
RECURSIVE SumHeld(_)
SumHeld(W) == IF W = {} THEN 0 ELSE LET w == CHOOSE w \in W : TRUE IN Own(w).len + SumHeld(W \ {w})
\* What its sealer has counted so far, or will.
RECURSIVE SumStripes(_, _)
SumStripes(s, K) == IF K = {} THEN 0 ELSE LET k == CHOOSE k \in K : TRUE IN
                    stripe[s][k].n + SumStripes(s, K \ {k})
Counting(s) == {w \in Writers : pc[w] \in {"s4", "s5"} /\ Slot(loc[w].gen) = s}
Counted(s) == SumStripes(s, {k \in Stripes : ~stripe[s][k].swept})
              + IF Counting(s) = {} THEN 0 ELSE loc[CHOOSE w \in Counting(s) : TRUE].found
InFlight(s) == IF fill[s] = QUEUED THEN 0
               ELSE IF fill[s] > SEALED \div 2 THEN SEALED - fill[s] ELSE resv[s] - fill[s] - Counted(s)
\* What is said to be full is closed.
FullIsClosed == full => ~(Open(Slot(current)) /\ tail[Slot(current)].gen = current)

ValidWriterCounts == \A s \in Slots : InFlight(s) = SumHeld(Holding(s))

ValidWritePositions ==
    \A s \in Slots : \A w \in Holding(s) :
        /\ Own(w).at >= 0 /\ Own(w).at + Own(w).len <= Cap
        /\ Own(w).gen = tail[s].gen
        /\ pc[w] # "rBase" => \E r \in ranges : r.t = Tag(w) /\ r.lsn = Own(w).lsn

\* LSNs grow strictly with the position in the ring, from the very first.
MonotonicLSNs ==
    \A r, q \in ranges :
        (r.gen < q.gen \/ (r.gen = q.gen /\ r.at < q.at)) => r.lsn < q.lsn

\* The active segment begins where all before it ended, and the watermarks follow.
ValidLSNProgression ==
    /\ durable <= written /\ written <= hi
    /\ \A s \in Slots : Open(s) => base[s] + tail[s].pos = hi
    /\ \A w \in Writers : pc[w] \in {"a1", "a2", "a3"} => loc[w].nb = hi

\* Reserved ranges are disjoint and leave no gap but those whose owners are about to learn where
\* they are.
Unplaced == {w \in Writers : pc[w] = "rBase"}
UnplacedDirect == {w \in Writers : pc[w] = "s1" /\ loc[w].dl > 0}
RECURSIVE SumDirect(_)
SumDirect(W) == IF W = {} THEN 0 ELSE LET w == CHOOSE w \in W : TRUE IN loc[w].dl + SumDirect(W \ {w})
NoOverlap ==
    phase = "up" =>
    /\ \A r, q \in ranges : r # q => r.lsn + r.len <= q.lsn \/ q.lsn + q.len <= r.lsn
    /\ \A r \in ranges : r.lsn + r.len <= hi
    /\ life = 1 => SumLen({[lsn |-> r.lsn, len |-> r.len] : r \in ranges})
                   + SumHeld(Unplaced) + SumDirect(UnplacedDirect) = hi

HandOverExactlyOnce ==
    /\ \A h \in handed : h.n = 1
    /\ \A s \in Slots : fill[s] = SEALED => \E h \in handed : h.gen = tail[s].gen
    /\ \A f \in 1 .. Len(frames) : frames[f].slot >= 0 => \E h \in handed : h.gen = frames[f].gen
    /\ \A f, g \in 1 .. Len(frames) :
         frames[f].slot >= 0 /\ frames[g].slot >= 0 /\ frames[f].gen = frames[g].gen => f = g

NoUseAfterRecycle ==
    /\ \A f \in 1 .. Len(frames) : frames[f].st = "flight" /\ frames[f].slot >= 0 =>
         tail[frames[f].slot].gen = frames[f].gen /\ fill[frames[f].slot] = SEALED
    /\ \A s \in Slots : Holding(s) # {} => fill[s] # QUEUED

\* What is called durable is durable, without a gap.
DurableIsPrefix ==
    phase = "up" =>
    /\ low <= durable
    /\ \A p \in low .. durable - 1 : \E f \in 1 .. Len(frames) :
         frames[f].base <= p /\ p < frames[f].end /\ frames[f].st = "durable"

\* What `next_lsn` says covers what the same thread appended before.
NextLsnCovers ==
    \A w \in Writers : pc[w] = "w0" /\ loc[w].need.k = "D" =>
        \A r \in ranges : r.t = Tag(w) => r.lsn + r.len <= loc[w].nxt

\* An acknowledged record below the durable watermark only.
AckedSurvivesCrash ==
    phase = "down" => \A r \in ranges : r.t \in acked /\ r.lsn >= low =>
        \E i \in 1 .. Len(recovered) : recovered[i].t = r.t /\ recovered[i].lsn = r.lsn

RecoveredIsPrefix ==
    phase = "down" =>
    /\ recovered # <<>> => recovered[1].lsn = low
    /\ \A i \in 1 .. Len(recovered) : \E r \in ranges :
         r.t = recovered[i].t /\ r.lsn = recovered[i].lsn /\ r.len = recovered[i].len
    /\ \A i \in 1 .. Len(recovered) - 1 : recovered[i].lsn + recovered[i].len = recovered[i + 1].lsn

NoTornVisible ==
    /\ phase = "down" => \A k \in 1 .. Len(recovered) : \A i \in 1 .. recovered[k].len :
         CellAt(disk, recovered[k].lsn + i - 1)
           = Cell(recovered[k].t, recovered[k].lsn, recovered[k].len, i)
    /\ \A f \in 1 .. Len(frames) : frames[f].st \in {"written", "durable"} =>
         \A i \in 1 .. Len(frames[f].data) :
             LET c == frames[f].data[i] IN c # Junk /\ c.lsn + c.i - 1 = frames[f].base + i - 1

(* Safety of steps. *)
Alive == phase = "up" /\ phase' = "up"
WatermarkMonotonic == [][Alive => durable' >= durable /\ written' >= written]_vars
PoisonIsFinal ==
    [][Alive /\ poisoned => poisoned' /\ durable' = durable /\ written' = written]_vars
CurrentIsRaised == [][Alive => current' >= current]_vars

(* Liveness, under LiveSpec. *)
Appending(w) == Own(w).op \in {"append", "direct"}
                /\ pc[w] \notin {"idle", "dead", "appended", "n1", "n2", "n3", "n4"}
                /\ Own(w).need.k # "D"
WriteCompletion == \A w \in Writers :
    Appending(w) ~> (~Appending(w))
RotationProgress ==
    ((\A s \in Slots : ~Open(s)) /\ \E w \in Writers : Own(w).need.k = "S")
        ~> ((\E s \in Slots : Open(s)) \/ poisoned \/ phase = "down"
            \/ \A w \in Writers : Own(w).need.k # "S")
EveryWaiterResolves == \A w \in Writers :
    (pc[w] \in {"w0", "turn", "park"}) ~> (loc[w].need = NoNeed \/ pc[w] \in {"idle", "dead", "appended"})
=============================================================================
