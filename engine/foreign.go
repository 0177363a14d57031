package engine

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// What is called here belongs to whoever embeds the engine or plugs something in. A panic in there is theirs, and ends neither a
// worker nor the process: a transport that panics has refused, a log handler that panics has dropped a record.

// sendTo hands messages to the transport and returns how many it took: none, if it panics. The core hears of what was refused.
func (e *Engine) sendTo(peer transport.Peer, lane transport.Lane, messages []raftpb.Message) (taken int) {
	defer func() {
		if value := recover(); value != nil {
			taken = 0
			e.transportPanicked(value)
		}
	}()
	return min(max(0, peer.Send(lane, messages)), len(messages))
}

// peer asks the transport for the way to a host.
func (e *Engine) peer(address string) (peer transport.Peer) {
	defer func() {
		if value := recover(); value != nil {
			e.transportPanicked(value)
		}
		if peer == nil {
			peer = noPeer(address)
		}
	}()
	return e.options.Transport.Peer(address)
}

func (e *Engine) transportPanicked(value any) {
	e.transportPanics.Add(1)
	e.options.Logger.Error("transport panicked", "value", value, "stack", string(debug.Stack()))
}

// noPeer refuses everything: the transport knows no way to the host.
type noPeer string

func (p noPeer) Address() string                           { return string(p) }
func (p noPeer) Send(transport.Lane, []raftpb.Message) int { return 0 }
func (p noPeer) Counters() transport.Counters              { return transport.Counters{} }

// GuardLogger returns a logger that drops the records at which the handler of the given one panics.
func GuardLogger(logger *slog.Logger) *slog.Logger {
	if _, guarded := logger.Handler().(guardedHandler); guarded {
		return logger
	}
	return slog.New(guardedHandler{logger.Handler()})
}

type guardedHandler struct{ handler slog.Handler }

func (g guardedHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }()
	return g.handler.Enabled(ctx, level)
}

func (g guardedHandler) Handle(ctx context.Context, record slog.Record) (err error) {
	defer func() { _ = recover() }()
	return g.handler.Handle(ctx, record)
}

func (g guardedHandler) WithAttrs(attributes []slog.Attr) (handler slog.Handler) {
	defer func() {
		if recover() != nil {
			handler = g
		}
	}()
	return guardedHandler{g.handler.WithAttrs(attributes)}
}

func (g guardedHandler) WithGroup(name string) (handler slog.Handler) {
	defer func() {
		if recover() != nil {
			handler = g
		}
	}()
	return guardedHandler{g.handler.WithGroup(name)}
}
