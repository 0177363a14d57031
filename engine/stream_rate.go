package engine

import "github.com/flotilla-raft/flotilla/raft"

// rateBurst is how much a stream may make up for time in which it could have sent and did not, because its worker was late: without it
// every delay would be lost, and the rate with it.
const rateBurst = raft.Instant(50e6)

// rate limits bytes per second on the engine's clock. It is a token bucket, kept as the instant at which the bytes sent so far are paid
// for: nothing has to be refilled, and an idle one costs nothing.
//
// Whatever is sent between two instants a time t apart is at most perSecond * (t + rateBurst), plus what was spent at once when it
// was last allowed.
type rate struct {
	perSecond int64 // 0: no limit
	paid      raft.Instant
	remainder int64 // of the last division, so that no chunk is ever rounded away
}

// allowed returns the instant from which bytes may be sent: now or earlier means at once.
func (r *rate) allowed() raft.Instant {
	if r.perSecond <= 0 {
		return 0
	}
	return r.paid
}

// spend notes that bytes are sent at now.
func (r *rate) spend(now raft.Instant, bytes int) {
	if r.perSecond <= 0 {
		return
	}
	r.paid = max(r.paid, now-rateBurst)
	cost := int64(bytes)*1e9 + r.remainder
	r.paid += raft.Instant(cost / r.perSecond)
	r.remainder = cost % r.perSecond
}
