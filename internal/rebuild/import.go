package rebuild

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// ErrImportRefused says that a snapshot is not imported, and why. Nothing was changed.
var ErrImportRefused = errors.New("flotilla: snapshot is not imported")

// Import is an exported snapshot with which a shard is to begin anew on this host.
type Import struct {
	// ShardID is the shard, ReplicaID this host's replica, one of Members, and Recovery the number of this act, as nodehost.ImportOptions has them.
	ShardID, ReplicaID uint64
	Members            map[uint64]string
	Recovery           uint64
	// File reads the snapshot's file from its beginning. It is called twice, pass says for which time: 0, 1.
	File func(pass uint64, read func(io.Reader) error) error

	summary snapshot.Summary
	config  raftpb.Membership
}

// Verify reads the file to its end, before anything is written, and finds out the membership.
func (i *Import) Verify() (summary snapshot.Summary, config raftpb.Membership, err error) {
	err = i.File(0, func(in io.Reader) (err error) {
		if summary, err = snapshot.Verify(in, nil); err != nil {
			return err
		}
		if n, _ := io.ReadFull(in, make([]byte, 1)); n > 0 {
			return fmt.Errorf("%w: bytes behind the footer, at byte %d", snapshot.ErrDamaged, summary.Bytes)
		}
		return nil
	})
	switch meta := &summary.Meta; {
	case err != nil:
		return summary, config, err
	case meta.ShardID != i.ShardID:
		return summary, config, fmt.Errorf("it is of shard %d, asked for is %d", meta.ShardID, i.ShardID)
	case meta.Kind == raftpb.SnapshotWitness:
		return summary, config, errors.New("it is of a witness, which has no state")
	}
	i.summary, i.config = summary, i.membership(&summary)
	return summary, i.config, nil
}

// membership is what the shard begins with. Whoever is given anything else has other incarnations.
func (i *Import) membership(source *snapshot.Summary) raftpb.Membership {
	digest := sha256.New()
	put := func(n uint64) { _, _ = digest.Write(binary.LittleEndian.AppendUint64(nil, n)) } // never fails
	put(i.Recovery)
	put(i.ShardID)
	_, _ = digest.Write(source.Digest[:])
	ids := slices.Sorted(maps.Keys(i.Members))
	for _, id := range ids {
		put(id)
		put(uint64(len(i.Members[id])))
		_, _ = io.WriteString(digest, i.Members[id])
	}
	common := digest.Sum(nil)
	membership := raftpb.Membership{ID: source.Meta.Index}
	for _, id := range ids {
		own := sha256.Sum256(binary.LittleEndian.AppendUint64(slices.Clone(common), id))
		membership.Members = append(membership.Members, raftpb.Member{
			ReplicaID: id, Kind: raftpb.Voter, Address: i.Members[id],
			Incarnation: binary.LittleEndian.Uint64(own[:]) | 1, // never 0
		})
	}
	return membership
}

// Decide makes the file that says that, and with what, the shard begins anew. Once it has its name nothing goes back any more. It comes behind
// Verify.
func (i *Import) Decide(s *Stores) error {
	temporary, name := s.FS.PathJoin(s.Dir, importName+".temporary"), s.FS.PathJoin(s.Dir, importName)
	file, err := s.FS.Create(temporary, writeCategory)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	change := func(meta raftpb.SnapshotMeta) (raftpb.SnapshotMeta, error) {
		meta.ReplicaID, meta.Config = i.ReplicaID, raftpb.ConfigRecord{Index: meta.Index, Membership: i.config}
		return meta, nil
	}
	err = i.File(1, func(in io.Reader) error {
		read, _, err := snapshot.Copy(in, &Writer{File: file}, change, snapshot.WriterOptions{})
		if err == nil && read.Digest != i.summary.Digest {
			err = fmt.Errorf("%w: the file was changed meanwhile", snapshot.ErrDamaged)
		}
		return err
	})
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		if err = s.FS.Rename(temporary, name); err == nil {
			err = syncDirectory(s.FS, s.Dir)
		}
		if err != nil { // it may have its name: whether it was decided is known when the directory is opened next
			return fmt.Errorf("import: %w", err)
		}
		return nil
	}
	return fmt.Errorf("import: %w", errors.Join(err, s.FS.Remove(temporary)))
}
