// Package sessions measures what client sessions cost: the same load on the same hosts without sessions, and with every write a call of one, 200 in flight
// to a session. The two take turns, and their ratio is the median of those of neighbours, so that a machine that drifts is shared by both.
package sessions
