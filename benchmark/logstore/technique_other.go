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

type writer struct{ technique Technique }

func (t Technique) open(string, int, int64) (*writer, error) { return nil, errUnsupported }

func (w *writer) resize(int) error { return errUnsupported }

func (w *writer) loop(time.Duration, *int) error { return errUnsupported }

func (w *writer) close() {}
