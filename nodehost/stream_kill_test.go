package nodehost_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
)

// How large the states are that are streamed, and how often somebody is killed, when -soak does not say more.
const (
	killedStates     = 1 << 20 // bytes of each of the two shards
	killedStatesSoak = 32 << 20
	streamKills      = 2
	streamsAfter     = 20 // commands that are acknowledged between two of a round's steps
)

// Three processes with a host each, under load. In each round one is killed by SIGKILL, the others let go of all the log that it needs, and it is
// started again. While it is sent a snapshot of each shard it is killed again, or who sends them is, or both, at a point that is
// drawn, and they come back. It has to catch up, the replicas never differ, none is damaged, and whatever was acknowledged is on every disk in the end.
//
// The kernel keeps what was written, synced or not. For that reason each round is paired with a cut of the power of all three during
// such a stream (R30, killPair), and power cuts at each step of an installation damage it if syncs do nothing (engine,
// TestAPowerCutAtAnyPointOfAnInstallation).
func TestKillsDuringStreams(t *testing.T) {
	if testing.Short() {
		t.Skip("its hosts are other processes: no race is seen")
	}
	rounds, bytes := streamKills, killedStates
	if *soak > 0 {
		rounds, bytes = *soak, killedStatesSoak
	}
	r := &streamKillRun{
		t: t, c: newCluster(t, 3), random: rand.New(rand.NewPCG(uint64(rounds), 7)), bytes: bytes, lines: make(chan hostLine, 1<<16),
	}
	for i := range r.children {
		r.start(i)
	}
	r.awaitUp(0, 1, 2)
	r.tell(0, fmt.Sprint("fill ", bytes/streamCommandBytes))
	for r.round = 1; r.round <= rounds; r.round++ {
		r.killInAStream()
		pair := killPair{
			store: storeNamed("seglog"), seed: uint64(r.round), commands: 1 + r.random.IntN(50), inStream: true, beyond: 1 + r.random.IntN(40),
		}
		if err := pair.run(); err != nil {
			t.Fatalf("power cut of round %d, %+v: %v", r.round, pair, err)
		}
	}
	for i := range r.children {
		r.tell(i, "quiet")
	}
	for i := range r.children {
		r.kill(i)
	}
	t.Logf("%d rounds, %d commands acknowledged, %d snapshots installed, killed: %d receivers, %d sources", rounds, len(r.wanted), r.installed,
		r.receivers, r.sources)
	if r.installed == 0 {
		t.Error("no snapshot was installed: the test shows nothing")
	}
	r.check()
}

// streamKillRun is one run of that test.
type streamKillRun struct {
	t      *testing.T
	c      *cluster
	random *rand.Rand
	bytes  int // of a shard's state
	round  int

	children [3]*hostProcess
	lives    int // of children
	lines    chan hostLine

	wanted       []string
	acknowledged [1 + diskShard]int // of wanted, by shard

	source    [3]int // the host that a host was told to fetch from last
	receivers int    // killed
	sources   int
	installed int
}

// hostProcess is a child that runs.
type hostProcess struct {
	command    *exec.Cmd
	input      io.WriteCloser
	complaints *strings.Builder
	life       int
	ended      chan struct{}
	progress   int // lines of this life about streams
	up, done   int
}

// hostLine is what a child says.
type hostLine struct {
	host, life int
	text       string
}

// linesOfAState is how many lines of progress a stream makes.
const linesOfAState = 20

func (r *streamKillRun) start(i int) {
	r.t.Helper()
	program, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	r.lives++
	arguments := []string{streamChild, fmt.Sprint(i), fmt.Sprint(r.lives), fmt.Sprint(4 * r.bytes), fmt.Sprint(r.bytes / linesOfAState), filepath.Dir(r.c.dirs[i])}
	p := &hostProcess{
		command: exec.Command(program, append(arguments, r.c.addresses...)...), complaints: &strings.Builder{}, life: r.lives,
		ended: make(chan struct{}),
	}
	p.command.Stderr = p.complaints
	output, err := p.command.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if p.input, err = p.command.StdinPipe(); err != nil {
		r.t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.children[i] = p
	r.t.Cleanup(func() {
		_ = p.command.Process.Kill()
		_ = p.input.Close()
		<-p.ended
	})
	lines := r.lines
	go func() {
		defer close(p.ended)
		for output := bufio.NewReader(output); ; {
			line, err := output.ReadString('\n')
			if err != nil {
				break // a line without its end was not received
			}
			lines <- hostLine{i, p.life, strings.TrimSuffix(line, "\n")}
		}
		_ = p.command.Wait() // it is killed
	}()
}

// take takes one line of somebody.
func (r *streamKillRun) take(line hostLine) {
	r.t.Helper()
	if acknowledged, found := strings.CutPrefix(line.text, "+"); found {
		r.wanted = append(r.wanted, acknowledged)
		r.acknowledged[acknowledged[0]-'0']++
		return
	}
	if strings.HasPrefix(line.text, "!") {
		r.t.Fatalf("round %d: host %d: %s", r.round, line.host+1, line.text)
	}
	p := r.children[line.host]
	if p.life != line.life {
		return // its last words
	}
	words := strings.Fields(line.text)
	switch words[1] {
	case "offered":
		p.progress++
		r.source[line.host] = int(words[2][0] - '1')
	case "received":
		p.progress++
	case "installed":
		p.progress++
		r.installed++
	case "up":
		p.up++
	case "done":
		p.done++
	}
}

// await takes lines until a condition holds.
func (r *streamKillRun) await(what string, condition func() bool) {
	r.t.Helper()
	patience := time.NewTimer(r.patience())
	defer patience.Stop()
	for !condition() {
		select {
		case line := <-r.lines:
			r.take(line)
		case <-patience.C:
			for i, p := range r.children {
				r.t.Logf("host %d: %+v: %s", i+1, p, p.complaints)
			}
			r.t.Fatalf("round %d: not reached: %s", r.round, what)
		}
	}
}

func (r *streamKillRun) patience() time.Duration {
	if *soak > 0 {
		return 4 * patience
	}
	return patience
}

func (r *streamKillRun) awaitUp(hosts ...int) {
	r.t.Helper()
	for _, i := range hosts {
		r.await("up", func() bool { return r.children[i].up == diskShard })
	}
}

// awaitLoad waits until more was acknowledged, of each shard.
func (r *streamKillRun) awaitLoad() {
	r.t.Helper()
	before := r.acknowledged
	r.await("load", func() bool {
		return min(r.acknowledged[memoryShard]-before[memoryShard], r.acknowledged[diskShard]-before[diskShard]) >= streamsAfter
	})
}

// tell tells a child to do something and waits until that is done.
func (r *streamKillRun) tell(i int, what string) {
	r.t.Helper()
	p := r.children[i]
	p.done = 0
	if _, err := io.WriteString(p.input, what+"\n"); err != nil {
		r.t.Fatalf("host %d: %v: %s", i+1, err, p.complaints)
	}
	r.await(what, func() bool { return p.done > 0 })
}

// kill kills a child, and takes what it still had to say.
func (r *streamKillRun) kill(i int) {
	r.t.Helper()
	p := r.children[i]
	if err := p.command.Process.Kill(); err != nil {
		r.t.Fatalf("host %d has ended by itself: %v: %s", i+1, err, p.complaints)
	}
	for ended := false; !ended; {
		select {
		case line := <-r.lines:
			r.take(line)
		case <-p.ended:
			ended = true
		}
	}
	_ = p.input.Close()
}

// killInAStream is one round.
func (r *streamKillRun) killInAStream() {
	r.t.Helper()
	r.awaitLoad()
	receiver := r.random.IntN(3)
	r.kill(receiver)
	r.awaitLoad()
	for i := range r.children {
		if i != receiver {
			r.tell(i, "snapshot")
		}
	}
	r.awaitLoad()
	r.start(receiver)
	p := r.children[receiver]
	point := 1 + r.random.IntN(2*linesOfAState)
	r.await("a part has come", func() bool { return p.progress >= point || p.up == diskShard })
	var killed []int
	source := r.source[receiver]
	if source == receiver { // it was offered nothing: the log was enough
		source = (receiver + 1) % 3
	}
	switch r.random.IntN(3) {
	case 0:
		killed = []int{receiver}
		r.receivers++
	case 1:
		killed = []int{source}
		r.sources++
	default:
		killed = []int{receiver, source}
		r.receivers++
		r.sources++
	}
	for _, i := range killed {
		r.kill(i)
	}
	for _, i := range killed {
		r.start(i)
	}
	r.awaitUp(0, 1, 2)
}

// check starts the hosts here, on what the processes left, and looks for every acknowledged command on each of them.
func (r *streamKillRun) check() {
	r.t.Helper()
	c := r.c
	machines := make(map[[2]uint64]rsm.Checksummer)
	for i := range c.hosts {
		c.start(i)
		for shard := uint64(memoryShard); shard <= diskShard; shard++ {
			config := streamedConfig(shard, i, c.members())
			config.Audit = 0
			factory := func(shardID, replicaID uint64) (rsm.StateMachine, error) {
				machine, err := streamedFactory(c.dirs[i])(shardID, replicaID)
				machines[[2]uint64{uint64(i), shard}] = machine.(rsm.Checksummer)
				return machine, err
			}
			if err := c.hosts[i].StartReplica(patient(r.t), config, factory); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	for shard := uint64(memoryShard); shard <= diskShard; shard++ {
		size := r.read(0, shard, kv.Size{})
		if int(size.(uint64)) < r.bytes/streamCommandBytes {
			r.t.Errorf("shard %d has %d keys", shard, size)
		}
		first, err := machines[[2]uint64{0, shard}].Checksum()
		for i := uint64(1); i < 3; i++ {
			otherSize := r.read(int(i), shard, kv.Size{})
			other, fault := machines[[2]uint64{i, shard}].Checksum()
			if err != nil || fault != nil || first != other || otherSize != size {
				r.t.Errorf("shard %d: the states of hosts 1 and %d differ: %v, %v", shard, i+1, err, fault)
			}
		}
	}
	for _, key := range r.wanted { // every host has read, so its state is as new as any
		for i := range c.hosts {
			value, err := c.shard(i, uint64(key[0]-'0')).StaleRead(patient(r.t), kv.Get{Key: key}, 0)
			if err != nil || string(value.(kv.Value).Data) != key {
				r.t.Fatalf("host %d lost %q, one of %d acknowledged commands: %v", i+1, key, len(r.wanted), err)
			}
		}
	}
}

func (r *streamKillRun) read(i int, shard uint64, query any) (answer any) {
	r.t.Helper()
	handle := r.c.shard(i, shard)
	r.c.eventually("read", func() bool {
		var err error
		answer, err = handle.Read(patient(r.t), query)
		return err == nil
	})
	return answer
}
