package nodehost

import (
	"context"
)

// Read answers a query from this host's state machine, linearizably: the answer reflects every command whose proposal was answered
// anywhere before Read was called. One quorum round confirms all reads of a shard that arrived meanwhile. The state
// machine's Lookup runs on the caller's goroutine.
func (s *Shard) Read(ctx context.Context, query any) (any, error) {
	cancelled := ctx.Done()
	if cancelled != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	ticket, err := s.replica.ReadTicket()
	if err != nil {
		return nil, err
	}
	if cancelled == nil {
		<-ticket.Done()
	} else {
		select {
		case <-ticket.Done():
		case <-cancelled:
			return nil, context.Cause(ctx) // a read changes nothing
		}
	}
	if err := ticket.Err(); err != nil {
		return nil, err
	}
	return s.replica.Lookup(query)
}

// ReadAsync is Read without waiting. Unless it returns an error, done is called exactly once, on an engine goroutine, where Lookup
// runs too; both must be short.
func (s *Shard) ReadAsync(query any, done func(any, error)) error {
	return s.replica.Read(query, done)
}

// StaleRead answers a query from this host's state machine as it is, without asking anybody: the answer may miss commands
// that were acknowledged long ago.
func (s *Shard) StaleRead(query any) (any, error) { return s.replica.Lookup(query) }
