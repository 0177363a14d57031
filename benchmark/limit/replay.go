package limit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// replay reads the logs of all hosts back and applies what they hold. The hosts are read side by side.
func (c *cluster) replay(ctx context.Context) error {
	errs := make([]error, len(c.hosts))
	var work sync.WaitGroup
	for i, h := range c.hosts {
		work.Go(func() { errs[i] = h.log.replay(ctx) })
	}
	work.Wait()
	return errors.Join(errs...)
}

// replay applies the log of one host, in which nothing is written any more.
func (l *log) replay(ctx context.Context) error {
	if l.ring != nil {
		return l.ring.settle(ctx)
	}
	machines := l.machines()
	for segment := range l.segments {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := l.replaySegment(segment, machines); err != nil {
			return fmt.Errorf("limit: %s: %w", l.segmentName(segment), err)
		}
	}
	return nil
}

// machines are those of the host, by shard.
func (l *log) machines() []*benchmark.Machine {
	machines := make([]*benchmark.Machine, len(l.host.cluster.shards))
	for shard := range machines {
		machines[shard] = l.host.cluster.options.Machine(l.host.number, shard)
	}
	return machines
}

func (l *log) replaySegment(segment int, machines []*benchmark.Machine) error {
	file, err := l.fs.Open(l.segmentName(segment))
	if err != nil {
		return err
	}
	defer file.Close()
	frames := newFrames(file)
	for {
		h, frame, err := frames.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF) && frames.end-frames.start < headerSize:
			return nil // the room left at the end is less than a header
		case err != nil:
			return err
		}
		if h == (header{}) {
			return nil // allocated, never written
		}
		if err := h.check(frame, len(l.host.cluster.hosts), len(machines)); err != nil {
			return err
		}
		if err := apply(machines[h.shard], h, frame[headerSize:]); err != nil {
			return err
		}
	}
}

// apply hands the commands of a batch to a machine.
func apply(m *benchmark.Machine, h header, body []byte) error {
	m.Begin()
	defer m.End()
	for i := range uint64(h.count) {
		command, rest, err := nextCommand(body)
		if err != nil {
			return err
		}
		m.Apply(h.index+i, command)
		body = rest
	}
	if len(body) > 0 {
		return fmt.Errorf("%w: %d bytes behind the last command", errFrame, len(body))
	}
	return nil
}
