package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/internal/loopback"
)

const (
	// patienceTimeouts is how many election timeouts a shard may take to accept writes again before the run fails.
	patienceTimeouts = 50
	// watchTimeouts is how long the watch lasts at least, so that gaps of other shards are seen.
	watchTimeouts = 5
	pollInterval  = 50 * time.Millisecond
	// stepTimeout bounds everything that only has to happen some time, as starting and settling.
	stepTimeout = time.Minute
)

// Options describe a run.
type Options struct {
	// Hosts, Shards, Payload and Repeat are counts as in benchmark.Config. InFlight requests are spread over all hosts and shards, at
	// least one for each pair.
	Hosts    int `json:"hosts"`
	Shards   int `json:"shards"`
	Payload  int `json:"payload"`
	InFlight int `json:"in_flight"`
	Repeat   int `json:"repeat"`
	// ElectionTimeout is the base of the randomized timeout.
	ElectionTimeout time.Duration `json:"election_timeout_ns"`
	// Warmup is the time under load before a host goes.
	Warmup time.Duration `json:"warmup_ns"`
	// Data is an existing directory for the data of all hosts.
	Data string `json:"-"`
	// Program is how a host process is started, without its options: a command line that calls RunHost.
	Program []string `json:"-"`
}

// Run makes the repeats and returns what was measured until it ended or failed.
func Run(ctx context.Context, options Options, out io.Writer) (*Report, error) {
	report := &Report{Options: options}
	for repeat := range options.Repeat {
		fmt.Fprintf(out, "\nfailover, repeat %d of %d\n", repeat+1, options.Repeat)
		r := &run{Options: options, out: out, report: report, dir: filepath.Join(options.Data, fmt.Sprintf("repeat-%d", repeat+1))}
		if err := r.run(ctx); err != nil {
			return report, err
		}
	}
	report.conclude()
	return report, nil
}

// run is one repeat.
type run struct {
	Options
	out       io.Writer
	report    *Report
	dir       string
	addresses []string
	lives     []int
	hosts     []*process // nil while down
}

func (r *run) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends every process that is left
	if r.addresses, err = loopback.Addresses(r.Hosts); err != nil {
		return err
	}
	r.hosts, r.lives = make([]*process, r.Hosts), make([]int, r.Hosts)
	defer func() {
		for _, p := range r.hosts {
			if p != nil {
				err = errors.Join(err, p.kill())
			}
		}
	}()
	for i := range r.hosts {
		if err := r.start(ctx, i); err != nil {
			return err
		}
	}
	for _, event := range []struct {
		name string
		host int
		end  func(*process) (outage, error)
	}{{"close", 0, closeHost}, {"kill", 1, killHost}} {
		if err := r.prepare(ctx, event.host); err != nil {
			return err
		}
		if err := r.lose(ctx, event.name, event.host, event.end); err != nil {
			return err
		}
		if err := r.start(ctx, event.host); err != nil {
			return err
		}
	}
	return r.check(ctx)
}

// start brings a host up; it has no clients yet.
func (r *run) start(ctx context.Context, i int) (err error) {
	clients := max(1, r.InFlight/(r.Hosts*r.Shards))
	r.hosts[i], err = spawn(ctx, r.Program, HostOptions{
		Dir: filepath.Join(r.dir, fmt.Sprintf("host-%d", i+1)), Addresses: r.addresses, Number: i, Life: r.lives[i],
		Shards: r.Shards, Clients: clients, Payload: r.Payload, ElectionTimeout: r.ElectionTimeout,
	})
	r.lives[i]++
	return err
}

// prepare spreads the leaders, sees that every host has its clients, and lets the load run.
func (r *run) prepare(ctx context.Context, lost int) error {
	for _, p := range r.hosts {
		if _, err := p.call(request{Do: "lead"}); err != nil {
			return err
		}
	}
	for _, p := range r.hosts {
		if p.loaded {
			continue
		}
		p.loaded = true
		if _, err := p.call(request{Do: "load"}); err != nil {
			return err
		}
	}
	if err := benchmark.Wait(ctx, r.Warmup); err != nil {
		return err
	}
	// What the start of the load has moved goes back, and no election is under way when the host goes.
	for _, p := range r.hosts {
		if _, err := p.call(request{Do: "lead"}); err != nil {
			return err
		}
	}
	return benchmark.Wait(ctx, 2*r.ElectionTimeout)
}

// outage is when a host went.
type outage struct{ began, ended int64 }

func closeHost(p *process) (o outage, err error) {
	o.began, o.ended, err = p.close()
	return o, err
}

func killHost(p *process) (outage, error) {
	o := outage{began: wallClock()}
	err := p.kill()
	o.ended = wallClock()
	return o, err
}

// lose ends a host under the eyes of the others and adds what they saw to the report.
func (r *run) lose(ctx context.Context, name string, host int, end func(*process) (outage, error)) error {
	calm, err := r.calm(ctx, host)
	if err != nil {
		return err
	}
	if err := r.watch(host, uint64(host+1)); err != nil {
		return err
	}
	o, err := end(r.hosts[host])
	r.hosts[host] = nil
	if err != nil {
		return err
	}
	least, most := o.began+int64(watchTimeouts*r.ElectionTimeout), o.began+int64(patienceTimeouts*r.ElectionTimeout)
	for {
		if err := benchmark.Wait(ctx, pollInterval); err != nil {
			return err
		}
		seen, err := r.watched()
		if err != nil {
			return err
		}
		e := eventOf(name, host, o, seen, r.Shards)
		e.CalmGapMS = calm
		if now := wallClock(); now >= least && e.Unrecovered == 0 || now >= most {
			r.report.Events = append(r.report.Events, e)
			fmt.Fprintln(r.out, e)
			return nil
		}
	}
}

// watch lets all hosts but one begin to watch anew.
func (r *run) watch(but int, lost uint64) error {
	for i, p := range r.hosts {
		if i == but {
			continue
		}
		if _, err := p.call(request{Do: "watch", Lost: lost}); err != nil {
			return err
		}
	}
	return nil
}

// calm watches for as long as nothing happens, and returns the longest gap: what the machine alone makes of it.
func (r *run) calm(ctx context.Context, but int) (gapMS float64, err error) {
	if err := r.watch(but, 0); err != nil {
		return 0, err
	}
	if err := benchmark.Wait(ctx, watchTimeouts*r.ElectionTimeout); err != nil {
		return 0, err
	}
	for i, p := range r.hosts {
		if i == but {
			continue
		}
		answer, err := p.call(request{Do: "report"})
		if err != nil {
			return 0, err
		}
		for i := range answer.Watched {
			gapMS = max(gapMS, float64(answer.Watched[i].Gap)/millisecond)
		}
	}
	return gapMS, nil
}

// watched asks all hosts that are up.
func (r *run) watched() (seen [][]Watched, err error) {
	for _, p := range r.hosts {
		if p == nil {
			continue
		}
		answer, err := p.call(request{Do: "report"})
		if err != nil {
			return nil, err
		}
		seen = append(seen, answer.Watched)
	}
	return seen, nil
}

// check ends the load and compares the replicas of each shard. They agree once all have applied all; a shard that never does ends
// the wait with what differs.
func (r *run) check(ctx context.Context) error {
	for _, p := range r.hosts {
		if _, err := p.call(request{Do: "halt"}); err != nil {
			return err
		}
	}
	for end := time.Now().Add(stepTimeout); ; {
		var summaries [][]Summary
		var faults []string
		for _, p := range r.hosts {
			answer, err := p.call(request{Do: "summary"})
			if err != nil {
				return err
			}
			summaries, faults = append(summaries, answer.Summaries), append(faults, answer.Faults...)
		}
		found := append(differences(summaries), faults...)
		if len(found) == 0 {
			fmt.Fprintf(r.out, "check: all %d replicas agree, and have every acknowledged command once\n", r.Hosts*r.Shards)
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %v", benchmark.ErrCheck, found)
		}
		if err := benchmark.Wait(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// differences lists the shards whose replicas do not agree, or hold a command twice.
func differences(summaries [][]Summary) (found []string) {
	for host := range summaries {
		for shard, s := range summaries[host] {
			if first := summaries[0][shard]; s != first {
				found = append(found, fmt.Sprintf("shard %d: host 1 has %+v, host %d has %+v", shard+1, first, host+1, s))
			} else if s.Doubled > 0 && host == 0 {
				found = append(found, fmt.Sprintf("shard %d: %d commands are in twice", shard+1, s.Doubled))
			}
		}
	}
	return found
}
