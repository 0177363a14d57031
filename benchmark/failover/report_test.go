package failover

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/rsm"
)

const ms = int64(time.Millisecond)

// Outages count from the event to the first of the survivors; who led is what the newest term says; gaps of the other shards are the
// longest that one host saw.
func TestEventOfJoinsWhatTheSurvivorsSaw(t *testing.T) {
	e := eventOf("kill", 1, outage{began: 1000 * ms, ended: 1010 * ms}, [][]Watched{
		{
			{Leader: 2, Term: 5, Elected: 1300 * ms, NewTerm: 6, Accepted: 1320 * ms, Gap: 330 * ms},
			{Leader: 2, Term: 5, Gap: 40 * ms}, // an old word
			{Leader: 2, Term: 7},
		},
		{
			{Leader: 2, Term: 5, Elected: 1290 * ms, NewTerm: 6, Accepted: 1310 * ms, Gap: 320 * ms, Failures: 3, LastFailure: "no"},
			{Leader: 3, Term: 6, Gap: 50 * ms},
			{Leader: 2, Term: 7},
		},
	}, 3)
	want := []Shard{
		{Shard: 1, Led: true, ElectedMS: 290, AcceptedMS: 310, Terms: 1, GapMS: 330, Failures: 3, LastFailure: "no"},
		{Shard: 2, GapMS: 50},
		{Shard: 3, Led: true},
	}
	for i := range want {
		if e.Shards[i] != want[i] {
			t.Errorf("got %+v\nwant %+v", e.Shards[i], want[i])
		}
	}
	if e.Unrecovered != 1 || e.TookMS != 10 || e.othersGap() != 50 || e.Host != 2 {
		t.Errorf("%+v", e)
	}
	if text := e.String(); !strings.Contains(text, "1 SHARDS TOOK NO WRITE AGAIN") {
		t.Error(text)
	}
}

// A watch measures the time between acknowledgements, the one that is still open included, and does not take a write made under
// the lost leader for one of the next.
func TestWatchMeasuresGapsAndLeaders(t *testing.T) {
	var w watch
	w.accepted(10*ms, 1)
	w.begin(1, 1, 4)
	w.led(11*ms, 1, 4)
	w.accepted(12*ms, 1)
	w.led(15*ms, 0, 4)
	w.failed(errors.New("no leader"))
	w.led(40*ms, 2, 5)
	w.accepted(41*ms, 1) // made before
	w.accepted(50*ms, 2)
	w.accepted(51*ms, 2)
	got := w.watched
	want := Watched{Leader: 1, Term: 4, Elected: 40 * ms, NewTerm: 5, Accepted: 50 * ms, Gap: 29 * ms, GapEnd: 41 * ms, Failures: 1, LastFailure: "no leader"}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if open := w.report(); open.Gap < 1000*ms {
		t.Errorf("the open gap is %d", open.Gap)
	}
}

// Figures pool the repeats, requirements hold them against numbers and floors, and a miss is an error.
func TestFiguresAndRequirements(t *testing.T) {
	led := func(accepted ...float64) (shards []Shard) {
		for _, ms := range accepted {
			shards = append(shards, Shard{Led: true, AcceptedMS: ms})
		}
		return append(shards, Shard{GapMS: accepted[0] / 10})
	}
	r := &Report{Options: Options{Hosts: 3, ElectionTimeout: 200 * time.Millisecond}, Events: []Event{
		{Name: "close", Shards: led(5, 6)},
		{Name: "kill", Shards: led(260, 300), CalmGapMS: 7},
		{Name: "kill", Shards: led(280, 400), Unrecovered: 1},
	}}
	r.conclude()
	kill := r.Figures[1]
	if kill.Shards != 4 || kill.MedianMS != 290 || kill.MaxMS != 400 || kill.OthersGapMS != 28 || kill.CalmGapMS != 7 || kill.Unrecovered != 1 {
		t.Errorf("%+v", kill)
	}
	var out strings.Builder
	met := []benchmark.Requirement{
		require(t, "kill.median_ms<=1.2*floor"), require(t, "kill.max_ms<=1.5*floor"), require(t, "close.max_ms<=6"),
		require(t, "kill.others_gap_ms<=28"), require(t, "close.unrecovered==0"),
	}
	if err := r.judge(met, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	for _, text := range []string{"kill.median_ms<=1.1*floor", "kill.unrecovered==0", "close.median_ms<5"} {
		if err := r.judge([]benchmark.Requirement{require(t, text)}, &out); !errors.Is(err, benchmark.ErrRequirement) {
			t.Errorf("%s: %v", text, err)
		}
	}
	r.print(&out)
	if !strings.Contains(out.String(), "MISSED  kill.unrecovered==0") || !strings.Contains(out.String(), "others' gap") {
		t.Error(out.String())
	}
}

// The end check sees replicas that differ, commands that are in twice, and acknowledged ones that are not in.
func TestTheEndCheckSeesFaults(t *testing.T) {
	good := [][]Summary{{{Index: 9, Commands: 5, Checksum: 1}}, {{Index: 9, Commands: 5, Checksum: 1}}}
	if found := differences(good); len(found) > 0 {
		t.Error(found)
	}
	differ := [][]Summary{{{Index: 9, Commands: 5, Checksum: 1}}, {{Index: 9, Commands: 5, Checksum: 2}}}
	if found := differences(differ); len(found) != 1 {
		t.Error(found)
	}
	m := newMachine()
	update := func(client, sequence uint64) {
		command := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, client), sequence)
		if err := m.Update([]rsm.Entry{{Index: sequence, Command: command}}); err != nil {
			t.Fatal(err)
		}
	}
	update(7, 1)
	update(7, 2)
	c := &client{id: 7, machine: m, acknowledged: 2}
	if fault := c.fault(); fault != "" {
		t.Error(fault)
	}
	c.acknowledged, c.unknown = 3, 0
	if c.fault() == "" {
		t.Error("a lost command was not seen")
	}
	c.acknowledged, c.unknown = 1, 0
	if c.fault() == "" {
		t.Error("a command too many was not seen")
	}
	c.unknown = 1
	if fault := c.fault(); fault != "" {
		t.Error(fault)
	}
	update(7, 2)
	if found := differences([][]Summary{{m.now()}}); len(found) != 1 || !strings.Contains(found[0], "twice") {
		t.Error(found)
	}
}
