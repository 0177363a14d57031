package nodehost

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

const (
	// DefaultMaxSessions is the default of ReplicaConfig.MaxSessions.
	DefaultMaxSessions = 4096
	// MaxSessionCalls bounds how far the newest call of a session may be ahead of the oldest one that has not ended.
	MaxSessionCalls = 1024
)

// Session is a client's session with a shard: each of its calls is applied at most once, however often it is proposed, on whichever hosts,
// through changes of leader, crashes and snapshots; and whoever gets an answer gets the answer of that one time.
//
//	session.Propose(ctx, command)  one call, tried until it is answered or ctx ends
//	session.ProposeAsync(…)        one call, proposed once, without waiting
//	call := session.Call(command)  one call, which may be proposed again and again, here or, after Via, elsewhere
//
// What makes it so is kept by the shard: the responses of the session's calls, until they are acknowledged, which happens by itself
// with later calls. A shard holds ReplicaConfig.MaxSessions sessions; when one more is opened, the one that was not used for longest is
// evicted, and its calls end with ErrSessionExpired. All methods are safe for concurrent use; several calls may be under
// way at once, and are applied in any order.
//
// Register, unregister and acknowledge are not there to be called in the wrong order: a Session is open from OpenSession to Close, and a call
// that has ended stays ended.
type Session struct {
	client  uint64
	shardID uint64
	via     atomic.Pointer[Shard]

	mu        sync.Mutex
	places    []*place // of the calls above responded, a ring by series, a power of two long
	next      uint64   // series of the next call
	responded uint64   // every call up to it has ended
	over      error    // closed or expired: no call goes out any more
}

// OpenSession opens a session, and returns once the shard has it; until ctx ends it tries again by itself, whatever passes. Keep it as long as the client
// lives: opening costs a proposal. Errors: ErrNoSessions for a shard whose state machine is on disk and keeps none, those of
// Propose that do not pass, such as ErrStopped, and the cause of ctx. After any error no session is left but one that nobody uses.
func (s *Shard) OpenSession(ctx context.Context) (*Session, error) {
	if !s.replica.KeepsSessions() {
		return nil, fmt.Errorf("%w: shard %d", ErrNoSessions, s.ID())
	}
	command := rsm.RegisterCommand(s.maxSessions)
	var session *Session
	err := s.retry(ctx, func() error {
		// Every attempt has an ID of its own: one that arrives late must not bring back a session that has expired.
		session = &Session{client: drawClientID(), shardID: s.ID(), next: 1}
		_, err := s.proposeCall(ctx, engine.SessionFields{Client: session.client, Series: rsm.SeriesOpen}, command)
		return err
	})
	if err != nil {
		return nil, err
	}
	session.via.Store(s)
	return session, nil
}

func drawClientID() uint64 { return 1 + rand.Uint64N(rsm.MaxClientID) }

// Via makes the session go through another handle of its shard from now on, of another host or of a replica that was started again; calls that
// have not ended go that way, too, when they are proposed the next time. ErrOtherShard: the handle is of another shard.
func (s *Session) Via(shard *Shard) error {
	if shard.ID() != s.shardID {
		return fmt.Errorf("%w: session is of shard %d, the handle of shard %d", ErrOtherShard, s.shardID, shard.ID())
	}
	s.via.Store(shard)
	return nil
}

// Propose makes a call and returns its result once this host's state machine has applied it. Whatever passes is tried again until ctx ends;
// that ends the call, too, and MaybeApplied is true of the error if the command may have been, or yet be, applied (once). A
// ctx without an end tries for ever. Errors: those of Call.Propose.
func (s *Session) Propose(ctx context.Context, command []byte) (rsm.Result, error) {
	call := s.Call(command)
	result, err := call.Propose(ctx)
	if err != nil {
		call.Abandon()
	}
	return result, err
}

// Call makes a call without proposing it. The command is not copied and must not be changed until the call has ended. Every call that was
// proposed has to end, by an answer or by Abandon: the oldest one that has not may be followed by MaxSessionCalls less one.
func (s *Session) Call(command []byte) *Call { return &Call{session: s, command: command} }

// Close ends the session in the shard; it tries until ctx ends. Calls that have not ended end with ErrSessionClosed. A session that is not closed goes
// when its place is needed. Errors are those of Propose.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	expired := errors.Is(s.over, ErrSessionExpired)
	s.over = ErrSessionClosed
	s.mu.Unlock()
	if expired {
		return nil
	}
	return s.via.Load().retry(ctx, func() error {
		_, err := s.via.Load().proposeCall(ctx, engine.SessionFields{Client: s.client, Series: rsm.SeriesClose}, nil)
		return err
	})
}

// expire notes that the session is not in the shard any more, and returns what to say of it.
func (s *Session) expire(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expireLocked(err)
}

func (s *Session) expireLocked(err error) error {
	if s.over == nil {
		s.over = err
	}
	return s.over
}

// fieldsLocked returns what goes with a call: its number, and the newest acknowledgement.
func (s *Session) fieldsLocked(series uint64) engine.SessionFields {
	s.respondLocked()
	return engine.SessionFields{Client: s.client, Series: series, Responded: s.responded}
}

// proposeCall proposes once and waits for the outcome.
func (s *Shard) proposeCall(ctx context.Context, fields engine.SessionFields, command []byte) (rsm.Result, error) {
	cancelled := ctx.Done()
	if cancelled != nil && ctx.Err() != nil {
		return rsm.Result{}, context.Cause(ctx)
	}
	ticket, err := s.replica.ProposeSessionTicket(fields, command)
	if err != nil {
		return rsm.Result{}, err
	}
	select {
	case <-ticket.Done():
		return ticket.Outcome()
	case <-cancelled:
		return rsm.Result{}, abandon(ctx)
	}
}
