//go:build !linux

package logstore

import (
	"errors"
	"time"
)

// Technique is a way to make bytes durable.
type Technique struct {
	Layout string
	Direct bool
}

// String names the technique.
func (t Technique) String() string { return t.Layout }

func techniques() []Technique { return nil }

var errUnsupported = errors.New("logstore: technique is not supported here")

func (t Technique) syncs(string, int, time.Duration, time.Duration) (float64, error) {
	return 0, errUnsupported
}
