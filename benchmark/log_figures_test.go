package benchmark

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/logdb"
)

// Figures are those of the span between two looks, over all hosts.
func TestLogFiguresAreThoseOfTheSpan(t *testing.T) {
	look := func(groups *logdb.Histogram, syncs *logdb.Histogram, bytes uint64) LogCounts {
		c := LogCounts{Store: logdb.Metrics{
			GroupBytes: groups.Distribution(), SyncLatency: syncs.Distribution(), LogBytes: bytes, DiskBytes: 300, LiveBytes: 100, Queue: 1,
		}}
		c.Cache.Hits, c.Cache.Misses = 3*bytes, bytes
		return c
	}
	var groups, syncs [2]logdb.Histogram
	var from, to []LogCounts
	for host := range groups {
		groups[host].Record(1 << 20) // before the span
		from = append(from, look(&groups[host], &syncs[host], 1000))
		groups[host].Record(4096)
		syncs[host].Record(uint64(time.Millisecond))
		to = append(to, look(&groups[host], &syncs[host], 2000))
	}
	f := LogFiguresOf(from, to, 2)
	if f.GroupBytes != 4096 || f.SyncP50 < 1000 || f.SyncP50 > 1250 || f.BytesPerSecond != 1000 || f.CacheHitRate != 0.75 {
		t.Errorf("%+v", f)
	}
	if f.SpaceAmplification != 3 || f.Queue != 2 || f.WriteP50 != 0 {
		t.Errorf("%+v", f)
	}
	var out bytes.Buffer
	if f.Print(&out); !strings.Contains(out.String(), "4,096 B a write") {
		t.Error(out.String())
	}
	if f := LogFiguresOf(nil, nil, 0); f != (LogFigures{}) {
		t.Errorf("of nothing: %+v", f)
	}
}
