package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// operatorRoutes are what an operator asks for, with curl -X PUT and the like, of any server:
//
//	GET    /members                                     who they are, and who leads
//	PUT    /members/4?address=10.0.0.4:7000             server 4 joins; it is started with -join before
//	PUT    /members/4?address=10.0.0.4:7000&replaces=3  server 4 takes the place of 3, in one step
//	DELETE /members/3                                   server 3 leaves
//	PUT    /leader/2                                    server 2 leads
//
// A joining server gets the log first and counts for majorities only once it has caught up; the answer comes when it does.
func (s *server) operatorRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /members", s.members)
	mux.HandleFunc("PUT /members/{id}", s.join)
	mux.HandleFunc("DELETE /members/{id}", s.leave)
	mux.HandleFunc("PUT /leader/{id}", s.lead)
}

// number reads a replica ID.
func number(w http.ResponseWriter, text string) (uint64, bool) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("%q is no replica ID", text), http.StatusBadRequest)
	}
	return id, err == nil
}

func (s *server) members(w http.ResponseWriter, r *http.Request) {
	members, err := s.shard.Members(r.Context())
	answer(w, s.shard, members, err)
}

func (s *server) join(w http.ResponseWriter, r *http.Request) {
	id, ok := number(w, r.PathValue("id"))
	if !ok {
		return
	}
	address, replaced := r.URL.Query().Get("address"), r.URL.Query().Get("replaces")
	if replaced == "" {
		members, err := s.shard.AddReplica(r.Context(), id, raftpb.Voter, address)
		answer(w, s.shard, members, err)
		return
	}
	if old, ok := number(w, replaced); ok {
		members, err := s.shard.ReplaceReplica(r.Context(), old, id, address)
		answer(w, s.shard, members, err)
	}
}

func (s *server) leave(w http.ResponseWriter, r *http.Request) {
	if id, ok := number(w, r.PathValue("id")); ok {
		members, err := s.shard.RemoveReplica(r.Context(), id)
		answer(w, s.shard, members, err)
	}
}

func (s *server) lead(w http.ResponseWriter, r *http.Request) {
	id, ok := number(w, r.PathValue("id"))
	if !ok {
		return
	}
	if err := s.shard.TransferLeader(r.Context(), id); err != nil {
		fail(w, err)
		return
	}
	s.members(w, r)
}

// answer writes the members down.
func answer(w http.ResponseWriter, shard *nodehost.Shard, membership raftpb.Membership, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	type member struct {
		ID      uint64 `json:"id"`
		Kind    string `json:"kind"`
		Address string `json:"address"`
		Leads   bool   `json:"leads,omitempty"`
	}
	leader, _, _ := shard.Leader()
	var members []member
	for _, m := range membership.Members {
		members = append(members, member{m.ReplicaID, m.Kind.String(), m.Address, m.ReplicaID == leader})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(members)
}
