package engine

// SessionFields say which call of which client session a command is; rsm's SeriesOpen and SeriesClose open and close the session.
type SessionFields struct {
	// Client is the session's client ID, from 1 to rsm.MaxClientID.
	Client uint64
	// Series numbers the session's calls from 1. A call that is proposed again has the same number, and the same command.
	Series uint64
	// Responded is the highest call up to which the client has every response, or does not want it: none of them is proposed again.
	Responded uint64
}

// ProposeSession is Propose for a command of a client session. However often a call is proposed, by whichever replicas, it is applied at most once;
// each attempt that is applied gets the same result. Errors of the attempt, beside those of Propose: ErrSessionExpired, ErrCallForgotten,
// ErrNoSessions, ErrSessionWindow.
func (r *Replica) ProposeSession(fields SessionFields, command []byte, completion Completion) error {
	if refusal := r.refusal.Load(); refusal != nil {
		return *refusal
	}
	limits := &r.engine.limits
	if len(command) > limits.maxCommand {
		return r.tooLarge(command)
	}
	_, _, signal, err := r.queue.add(limits, command, 0, &fields, completion)
	if signal {
		r.worker.requests(r)
	}
	return err
}

// ProposeSessionTicket is ProposeTicket for a command of a client session; see ProposeSession.
func (r *Replica) ProposeSessionTicket(fields SessionFields, command []byte) (Ticket, error) {
	return r.proposeTicket(command, 0, &fields)
}

// KeepsSessions reports whether the state machine here has client sessions; if not they are refused with ErrNoSessions. Safe for
// concurrent use.
func (r *Replica) KeepsSessions() bool { return r.machine.KeepsSessions() }
