// Package inspect looks at a log store through its contract: what it holds, whether all of it is intact, and the entries of one
// replica. It changes nothing; whoever opens the store sees to it that opening does not either.
//
// Functions here read whole logs and keep one chunk of them in memory at a time. What is damaged is reported and passed over, so that
// one replica's damage does not hide another's.
package inspect
