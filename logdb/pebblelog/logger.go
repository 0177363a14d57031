package pebblelog

import (
	"fmt"
	"log/slog"
)

// logger receives what Pebble logs. Fatalf is the way in which Pebble reports that it cannot go on: a failed write of its
// manifest, a failed commit. It expects the process to end. Ours latches the failure and returns; from then on no
// Commit is answered with success, whatever Pebble's methods return (R12).
type logger struct {
	out   *slog.Logger
	latch *latch
}

func (l logger) Infof(format string, args ...any) {
	l.out.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l logger) Errorf(format string, args ...any) {
	l.out.Error("pebble: " + fmt.Sprintf(format, args...))
}

func (l logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("pebble: "+format, args...)
	l.latch.set(err)
	l.out.Error("pebble cannot go on, the log store takes no more writes", "error", err)
}
