package engine

import (
	"slices"
	"sync"
)

// replicaViews are the views of a replica that are being sent, or exported.
type replicaViews struct {
	mu      sync.Mutex
	list    []*viewStream
	exports []*userJob
	ended   error // not nil: why none begins any more
}

// begin takes an export, or says why none begins any more.
func (v *replicaViews) begin(export *userJob) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended == nil {
		v.exports = append(v.exports, export)
	}
	return v.ended
}

func (v *replicaViews) end(export *userJob) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.exports = slices.DeleteFunc(v.exports, func(other *userJob) bool { return other == export })
}

func (v *replicaViews) add(view *viewStream) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended == nil {
		v.list = append(v.list, view)
	}
	return v.ended
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
	v.ended = cause
	views, exports := slices.Clone(v.list), slices.Clone(v.exports)
	v.mu.Unlock()
	for _, export := range exports {
		r.engine.saving.cancel(export, cause)
	}
	for _, view := range views {
		view.pipe.close()
		r.engine.streaming.cancel(view.userJob, cause)
	}
}

// reopen lets views begin again.
func (v *replicaViews) reopen() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = nil
}
