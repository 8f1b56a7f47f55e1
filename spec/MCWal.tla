------------------------------- MODULE MCWal -------------------------------
EXTENDS Wal
Symmetry == Permutations(Writers)
\* One writer sleeps before its first addition until the ring has turned once.
OneIsSlow == \E w \in Writers :
    \/ ops[w] = 0 /\ pc[w] \in {"idle", "rAdd"}
    \/ ops[w] <= 1 /\ tail[0].gen >= NSeg
=============================================================================
