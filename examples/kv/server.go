package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
)

// server answers clients. Any server of the group takes any request: one that does not lead passes it on to the one that does.
type server struct{ shard *nodehost.Shard }

func newServer(shard *nodehost.Shard) http.Handler {
	s := &server{shard}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys/{key}", s.get)
	mux.HandleFunc("PUT /keys/{key}", s.put)
	mux.HandleFunc("DELETE /keys/{key}", s.remove)
	s.operatorRoutes(mux)
	return mux
}

// get reads linearizably: it sees every write that was acknowledged before, on whichever server. With ?age=1s it takes what this server
// has, if that is known to be no older, and asks nobody.
func (s *server) get(w http.ResponseWriter, r *http.Request) {
	age, err := time.ParseDuration(cmp.Or(r.URL.Query().Get("age"), "0"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	query := kv.Get{Key: r.PathValue("key")}
	answer, err := retry(r.Context(), func() (any, error) {
		if age > 0 {
			return s.shard.StaleRead(r.Context(), query, age)
		}
		return s.shard.Read(r.Context(), query)
	})
	if err != nil {
		fail(w, err)
		return
	}
	value := answer.(kv.Value)
	if !value.Exists {
		http.Error(w, "no such key", http.StatusNotFound)
		return
	}
	_, _ = w.Write(value.Data)
}

func (s *server) put(w http.ResponseWriter, r *http.Request) {
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, nodehost.DefaultMaxCommandBytes))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	s.propose(w, r, kv.Put([]byte(r.PathValue("key")), value))
}

func (s *server) remove(w http.ResponseWriter, r *http.Request) {
	s.propose(w, r, kv.Delete([]byte(r.PathValue("key"))))
}

func (s *server) propose(w http.ResponseWriter, r *http.Request, command []byte) {
	result, err := retry(r.Context(), func() (rsm.Result, error) { return s.shard.Propose(r.Context(), command) })
	switch outcome := kv.OutcomeOf(result); {
	case err != nil:
		fail(w, err)
	case outcome.Refused:
		http.Error(w, "the key is too long", http.StatusBadRequest)
	case outcome.Existed:
		w.WriteHeader(http.StatusOK)
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

// patience is how long a request is tried again while nobody can take it: an election is over by then.
const patience = 5 * time.Second

// retry makes a request again while it surely had no effect and the reason is one that passes. One that may have been applied is
// left to the client, who knows whether it may be done twice.
func retry[T any](ctx context.Context, request func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		value, err := request()
		if err == nil || nodehost.MaybeApplied(err) || !passing(err) {
			return value, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return value, err
		}
	}
}

func passing(err error) bool {
	for _, reason := range []error{nodehost.ErrNoLeader, nodehost.ErrNotLeader, nodehost.ErrBusy, nodehost.ErrTransferring} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// fail tells a client what went wrong in the words of HTTP.
func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case nodehost.MaybeApplied(err):
		status = http.StatusGatewayTimeout // it may be done, or yet be done
	case passing(err), errors.Is(err, nodehost.ErrDiskFull), errors.Is(err, nodehost.ErrStopped), errors.Is(err, nodehost.ErrTooStale):
		status = http.StatusServiceUnavailable // it was not done; another server, or a later time, may help
	case errors.Is(err, nodehost.ErrTooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, nodehost.ErrInvalidChange), errors.Is(err, nodehost.ErrNotMember), errors.Is(err, nodehost.ErrNotVoter):
		status = http.StatusBadRequest
	case errors.Is(err, nodehost.ErrPendingChange), errors.Is(err, nodehost.ErrStaleChange), errors.Is(err, nodehost.ErrTransferFailed):
		status = http.StatusConflict
	}
	http.Error(w, err.Error(), status)
}
