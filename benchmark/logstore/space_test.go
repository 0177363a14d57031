package logstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/internal/spantest"
)

func TestSpaceIsMeasuredOnEveryStore(t *testing.T) {
	spantest.Run(t, 100*time.Millisecond, func(span time.Duration) (lacking string) {
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
		if slices.ContainsFunc(results, func(r SpaceResult) bool { return r.BatchesPerSecond == 0 }) {
			return fmt.Sprintf("nothing is measured: %+v", results)
		}
		for _, r := range results {
			if r.BatchesPerSecond <= 0 || r.DeviceBytesPerByte <= 0 || r.LiveBytes <= 0 || r.DiskBytes < r.LiveBytes || r.IdleShardBytes <= 0 || r.Log.GroupBytes == 0 {
				return fmt.Sprintf("nothing measured: %+v", r)
			}
		}
		return ""
	})
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
