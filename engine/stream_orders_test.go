package engine

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
)

// A leader that needs no snapshot says so once. One that waits to take the place of the stream under way is as needless: its source may be as dead,
// and the replica was busy to that leader's log for another half a minute then.
func TestWhatIsNeedlessIsSoForTheStreamInThePlace(t *testing.T) {
	replica := &Replica{}
	current, instead := &incoming{replica: replica}, &incoming{replica: replica}
	r := &receiver{streams: []*incoming{current}}
	r.follow(0, receiveOrder{replica: replica, stream: instead})
	if current.instead != instead || current.patience() != raft.Instant(sourceSilent) {
		t.Fatalf("it waits %v with another one in its place", time.Duration(current.patience()))
	}
	r.follow(0, receiveOrder{replica: replica, needless: true})
	for _, stream := range []*incoming{current, instead} {
		if !stream.needless || stream.patience() != raft.Instant(sourceSilent) {
			t.Errorf("needless %v, it waits %v", stream.needless, time.Duration(stream.patience()))
		}
	}
}
