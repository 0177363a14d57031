package logstore

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
)

func TestSpaceIsMeasuredOnEveryStore(t *testing.T) {
	for span := 100 * time.Millisecond; ; span *= 4 {
		var out bytes.Buffer
		results, err := RunSpace(context.Background(), SpaceConfig{
			Stores: Stores(), Directory: t.TempDir(), Shards: 10, InFlight: []int{40, 10}, Warmup: span / 10, Duration: span, KeepBytes: 20_000, IdleShards: 500, Quiet: 100 * time.Millisecond,
		}, &out)
		if err != nil {
			t.Fatal(err)
		}
		if len(results) != 4 || strings.Count(out.String(), "in it") != 4 {
			t.Fatalf("%d results:\n%s", len(results), out.String())
		}
		quiet := false // on a machine that is busy with something else
		for _, r := range results {
			quiet = quiet || r.BatchesPerSecond == 0
		}
		if quiet && span < 10*time.Second {
			continue
		}
		for _, r := range results {
			if r.BatchesPerSecond <= 0 || r.DeviceBytesPerByte <= 0 || r.LiveBytes <= 0 || r.DiskBytes < r.LiveBytes || r.IdleShardBytes <= 0 || r.Log.GroupBytes == 0 {
				t.Errorf("nothing measured: %+v", r)
			}
		}
		return
	}
}

// A figure of one load is not taken for that of the other.
func TestSpaceFigures(t *testing.T) {
	report := Report{Space: []SpaceResult{
		{Store: "a", DeviceBytesPerByte: 1}, {Store: "a", DeviceBytesPerByte: 2},
		{Store: "b", DeviceBytesPerByte: 3, DiskUse: 4, IdleShardBytes: 5}, {Store: "b", DeviceBytesPerByte: 6, DiskUse: 7, IdleShardBytes: 5},
	}}
	for name, want := range map[string]float64{
		"append.device_bytes": 3, "append.light_device_bytes": 6, "append.disk_use": 4, "append.light_disk_use": 7, "append.idle_shard_bytes": 5,
	} {
		if _, err := benchmark.ParseRequirement(name + "<=1"); err != nil {
			t.Error(err)
		}
		if value, found := report.figure("b", name); !found || value != want {
			t.Errorf("%s is %g, %t; want %g", name, value, found, want)
		}
	}
}
