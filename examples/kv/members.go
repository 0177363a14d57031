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
//	GET /members   who they are, and who leads
//	PUT /leader/2  server 2 leads
func (s *server) operatorRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /members", s.members)
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
