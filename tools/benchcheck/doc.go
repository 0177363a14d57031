// Command benchcheck compares two revisions of the project by their benchmarks and fails if the newer one is slower.
//
//	benchcheck -base REVISION [-rounds 10] [-only REGEXP] [-harness=false]
//
// It builds the benchmarks of the working tree and those of the base, which it extracts into a temporary directory, and runs them in turns,
// the order changing with every round, so that a machine that drifts is shared by both. Besides the micro-benchmarks of
// each stage there is the harness itself, for a few seconds a round: 48 shards with 10,000 in flight, and one command at a time.
//
// A benchmark that only one of the two has is left out. Differences are judged as benchstat does (Mann-Whitney U test). What looks slower is
// measured once more, alone, and only what is slower both times fails: with some dozens of comparisons chance alone would
// otherwise fail a run now and then.
package main
