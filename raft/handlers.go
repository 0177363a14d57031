package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// handler takes a message that passed the term gate. p is the sender as a member in its current incarnation, nil if it
// is none (never for the types in memberOnly).
type handler func(c *Core, now Instant, m *raftpb.Message, p *peer)

// handlers is the protocol: what each role does with each message. Its empty cells are listed, with reasons, in
// cells_test.go.
var handlers [roleCount][raftpb.MessageTypeCount]handler

// termless messages stand outside of terms.
var termless = [raftpb.MessageTypeCount]bool{
	raftpb.MessageBootstrap: true, raftpb.MessageBootstrapResponse: true, raftpb.MessageRemoved: true,
	raftpb.MessageHeal: true, raftpb.MessageHealResponse: true, raftpb.MessagePull: true, raftpb.MessagePullResponse: true,
	raftpb.MessageSnapshotPull: true, raftpb.MessageSnapshotChunk: true,
}

// sessionBound messages are void unless they name this session of the receiver.
var sessionBound = [raftpb.MessageTypeCount]bool{
	raftpb.MessagePreVoteResponse: true, raftpb.MessageVoteResponse: true, raftpb.MessageReplicateResponse: true,
	raftpb.MessageHeartbeatResponse: true, raftpb.MessageReadIndex: true, raftpb.MessageReadIndexResponse: true,
	raftpb.MessagePropose: true, raftpb.MessageProposeResponse: true, raftpb.MessageTransferLeader: true,
	raftpb.MessageTransferLeaderResponse: true, raftpb.MessageSnapshotStatus: true,
	raftpb.MessageBootstrapResponse: true, raftpb.MessageTimeoutNow: true, raftpb.MessageHealResponse: true,
	raftpb.MessagePullResponse:  true,
	raftpb.MessageChangeMembers: true, raftpb.MessageChangeMembersResponse: true,
}

// memberOnly messages count only from a member in its current incarnation (R15).
var memberOnly = [raftpb.MessageTypeCount]bool{
	raftpb.MessagePreVoteResponse: true, raftpb.MessageVoteResponse: true, raftpb.MessageReplicateResponse: true,
	raftpb.MessageHeartbeatResponse: true, raftpb.MessageReadIndex: true, raftpb.MessagePropose: true,
	raftpb.MessageTransferLeader: true, raftpb.MessageSnapshotStatus: true,
	raftpb.MessageChangeMembers: true,
	raftpb.MessagePull:          true, raftpb.MessagePullResponse: true,
}

func init() {
	follower := [raftpb.MessageTypeCount]handler{
		raftpb.MessagePreVote:                (*Core).handlePreVote,
		raftpb.MessageVote:                   (*Core).handleVote,
		raftpb.MessageReplicate:              (*Core).handleReplicate,
		raftpb.MessageProbe:                  (*Core).handleProbe,
		raftpb.MessageHeartbeat:              (*Core).handleHeartbeat,
		raftpb.MessageReadIndex:              (*Core).refuseRead,
		raftpb.MessageReadIndexResponse:      (*Core).handleReadIndexResponse,
		raftpb.MessagePropose:                (*Core).handlePropose,
		raftpb.MessageProposeResponse:        (*Core).handleProposeResponse,
		raftpb.MessageTimeoutNow:             (*Core).handleTimeoutNow,
		raftpb.MessageTransferLeader:         (*Core).refuseTransfer,
		raftpb.MessageTransferLeaderResponse: (*Core).handleTransferResponse,
		raftpb.MessageBootstrap:              (*Core).handleBootstrap,
		raftpb.MessageRemoved:                (*Core).handleRemoved,
		raftpb.MessageHeal:                   (*Core).handleHeal,
		raftpb.MessageHealResponse:           (*Core).handleHealResponse,
		raftpb.MessageChangeMembers:          (*Core).handleChangeMembers,
		raftpb.MessageChangeMembersResponse:  (*Core).handleChangeMembersResponse,
	}
	follower[raftpb.MessageInstallSnapshot] = (*Core).handleInstallSnapshot
	follower[raftpb.MessagePull] = (*Core).handlePull
	follower[raftpb.MessagePullResponse] = (*Core).handlePullResponse
	candidate := follower
	candidate[raftpb.MessageTimeoutNow] = nil
	candidate[raftpb.MessageReadIndexResponse] = nil
	candidate[raftpb.MessageProposeResponse] = nil
	candidate[raftpb.MessageTransferLeaderResponse] = nil
	candidate[raftpb.MessageChangeMembersResponse] = nil

	handlers[RoleFollower] = follower
	handlers[RolePreCandidate] = candidate
	handlers[RolePreCandidate][raftpb.MessagePreVoteResponse] = (*Core).handlePreVoteResponse
	handlers[RoleCandidate] = candidate
	handlers[RoleCandidate][raftpb.MessageVoteResponse] = (*Core).handleVoteResponse
	handlers[RoleLeader] = [raftpb.MessageTypeCount]handler{
		raftpb.MessagePreVote:                (*Core).handlePreVote,
		raftpb.MessageVote:                   (*Core).handleVote,
		raftpb.MessageReplicate:              (*Core).refuseSecondLeader,
		raftpb.MessageProbe:                  (*Core).refuseSecondLeader,
		raftpb.MessageReplicateResponse:      (*Core).handleReplicateResponse,
		raftpb.MessageHeartbeat:              (*Core).refuseSecondLeader,
		raftpb.MessageInstallSnapshot:        (*Core).refuseSecondLeader,
		raftpb.MessageHeartbeatResponse:      (*Core).handleHeartbeatResponse,
		raftpb.MessageReadIndex:              (*Core).handleReadIndex,
		raftpb.MessagePropose:                (*Core).handlePropose,
		raftpb.MessageTransferLeader:         (*Core).handleTransferLeader,
		raftpb.MessageTransferLeaderResponse: (*Core).handleDeclined,
		raftpb.MessageSnapshotStatus:         (*Core).handleSnapshotStatus,
		raftpb.MessageBootstrap:              (*Core).handleBootstrap,
		raftpb.MessageRemoved:                (*Core).handleRemoved,
		raftpb.MessageHeal:                   (*Core).healMember,
		raftpb.MessageChangeMembers:          (*Core).handleChangeMembers,
	}
	handlers[RoleBootstrapping] = [raftpb.MessageTypeCount]handler{
		raftpb.MessageReplicate:         (*Core).adoptedByLeader,
		raftpb.MessageProbe:             (*Core).adoptedByLeader,
		raftpb.MessageHeartbeat:         (*Core).adoptedByLeader,
		raftpb.MessageBootstrap:         (*Core).handleBootstrap,
		raftpb.MessageBootstrapResponse: (*Core).handleBootstrapResponse,
		raftpb.MessageRemoved:           (*Core).handleRemoved,
		raftpb.MessageHeal:              (*Core).handleHeal,
	}
	handlers[RoleAbstaining] = [raftpb.MessageTypeCount]handler{
		raftpb.MessageRemoved:      (*Core).handleRemoved,
		raftpb.MessageHeal:         (*Core).handleHeal,
		raftpb.MessageHealResponse: (*Core).handleHealResponse,
	}
}
