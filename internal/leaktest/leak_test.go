package leaktest

import (
	"testing"

	"go.uber.org/goleak"
)

func TestAGoroutineThatStaysIsSeen(t *testing.T) {
	current := goleak.IgnoreCurrent()
	release, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		<-release
	}()
	if find(1, current) == nil {
		t.Error("a goroutine that stays was not seen")
	}
	close(release)
	<-ended
	Verify(t, current)
}
