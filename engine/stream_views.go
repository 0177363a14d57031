package engine

import (
	"slices"
	"sync"
)

// replicaViews are the views of a replica that are being sent.
type replicaViews struct {
	mu    sync.Mutex
	list  []*viewStream
	ended bool // none begins any more
}

func (v *replicaViews) add(view *viewStream) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended {
		return false
	}
	v.list = append(v.list, view)
	return true
}

func (v *replicaViews) remove(view *viewStream) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.list = slices.DeleteFunc(v.list, func(other *viewStream) bool { return other == view })
}

// endStreams ends everything that is sent of a replica and received for it: it stops, begins anew, or has been fenced. Acts that are
// queued behind wait until nobody is in its state machine any more.
func (r *Replica) endStreams(cause error) {
	r.endViews(cause)
	r.engine.sender.end(r)
	r.engine.receiverOf(r.shardID).cancel(r)
	if r.install != nil && r.install.job != nil {
		r.engine.recovering.cancel(r.install.job, cause)
	}
}

// endViews ends the views of a replica, and lets none begin.
func (r *Replica) endViews(cause error) {
	v := &r.views
	v.mu.Lock()
	v.ended = true
	views := slices.Clone(v.list)
	v.mu.Unlock()
	for _, view := range views {
		view.pipe.close()
		r.engine.streaming.cancel(view.userJob, cause)
	}
}

// reopen lets views begin again.
func (v *replicaViews) reopen() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = false
}
