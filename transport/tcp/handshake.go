package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/flotilla-raft/flotilla/transport"
)

// ProtocolVersion is the version of the handshake and of the frames that follow it.
const ProtocolVersion uint16 = 1

// The layouts are drawn in doc.go; all integers are little endian.
const (
	greetingMagic = "FLOTILLA"
	headSize      = 16   // magic, version, kind, lane, length of the body: the same in every version for ever
	maxBodyLength = 4096 // of a greeting
	maxTextLength = 512  // of each text in a greeting

	offVersion = 8
	offKind    = 10
	offLane    = 11
	offLength  = 12

	fixedBody = 8 + 8 + 8 + 2 // host id, epoch, process, refusal; the texts follow
)

// kind says which of the three greetings it is.
type kind uint8

const (
	kindHello   kind = 1 // from the host that dialled
	kindWelcome kind = 2 // the answer of a host that takes the connection
	kindRefusal kind = 3 // the answer of one that does not
)

// refusal says why a connection was refused.
type refusal uint16

const (
	refusalNone refusal = iota
	refusalVersion
	refusalDeployment
	refusalWrongHost
	refusalStaleEpoch
	refusalGarbage
)

// refusals pairs each reason with the error that stands for it on both sides.
var refusals = [...]error{
	refusalVersion:    transport.ErrVersion,
	refusalDeployment: transport.ErrDeployment,
	refusalWrongHost:  transport.ErrWrongHost,
	refusalStaleEpoch: transport.ErrStaleEpoch,
	refusalGarbage:    transport.ErrFrame,
}

// refusalFor returns the reason that travels for an error.
func refusalFor(err error) refusal {
	for reason, sentinel := range refusals {
		if sentinel != nil && errors.Is(err, sentinel) {
			return refusal(reason)
		}
	}
	return refusalGarbage
}

// greeting is one message of the handshake.
type greeting struct {
	version uint16
	kind    kind
	lane    transport.Lane

	identity transport.HostIdentity
	process  uint64  // random, drawn when the transport was made: tells two processes of one epoch apart
	refusal  refusal // of a kindRefusal
	target   string  // hello: the address that was dialled
	detail   string  // refusal: what the other side has to say
}

// append writes the greeting behind b. Texts are cut at maxTextLength; only detail can be longer.
func (g *greeting) append(b []byte) []byte {
	start := len(b)
	b = append(b, greetingMagic...)
	b = binary.LittleEndian.AppendUint16(b, g.version)
	b = append(b, byte(g.kind), byte(g.lane), 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, g.identity.HostID)
	b = binary.LittleEndian.AppendUint64(b, g.identity.Epoch)
	b = binary.LittleEndian.AppendUint64(b, g.process)
	b = binary.LittleEndian.AppendUint16(b, uint16(g.refusal))
	for _, text := range []string{g.identity.Deployment, g.identity.Address, g.target, g.detail} {
		text = text[:min(len(text), maxTextLength)]
		b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
		b = append(b, text...)
	}
	binary.LittleEndian.PutUint32(b[start+offLength:], uint32(len(b)-start-headSize+4))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// readGreeting reads one greeting. A foreign version yields ErrVersion together with a greeting that has only its head,
// anything that is no greeting ErrFrame, and what the connection says is returned as it is.
func readGreeting(r io.Reader, ours uint16) (greeting, error) {
	var g greeting
	head := make([]byte, headSize, headSize+256)
	if _, err := io.ReadFull(r, head); err != nil {
		return g, fmt.Errorf("reading the handshake: %w", err)
	}
	if string(head[:len(greetingMagic)]) != greetingMagic {
		return g, fmt.Errorf("%w: handshake begins with %q", transport.ErrFrame, head[:len(greetingMagic)])
	}
	length := binary.LittleEndian.Uint32(head[offLength:])
	if length > maxBodyLength {
		return g, fmt.Errorf("%w: handshake of %d bytes, at most %d", transport.ErrFrame, length, maxBodyLength)
	}
	// The body is read even if its layout is unknown: closing a connection with unread bytes would reset it and
	// could destroy our refusal before the peer has read it.
	whole := append(head, make([]byte, length)...)
	if _, err := io.ReadFull(r, whole[headSize:]); err != nil {
		return g, fmt.Errorf("reading the handshake: %w", err)
	}
	g.version = binary.LittleEndian.Uint16(head[offVersion:])
	g.kind, g.lane = kind(head[offKind]), transport.Lane(head[offLane])
	if g.version != ours {
		return g, fmt.Errorf("%w: ours %d, theirs %d", transport.ErrVersion, ours, g.version)
	}
	return g, g.parseBody(whole)
}

// parseBody fills in what stands behind the head. whole is the greeting from its first byte.
func (g *greeting) parseBody(whole []byte) error {
	if len(whole) < headSize+fixedBody+4 {
		return fmt.Errorf("%w: handshake of %d bytes is too short", transport.ErrFrame, len(whole))
	}
	content, stored := whole[:len(whole)-4], binary.LittleEndian.Uint32(whole[len(whole)-4:])
	if computed := crc32.Checksum(content, castagnoli); computed != stored {
		return fmt.Errorf("%w: handshake checksum %08x, stored %08x", transport.ErrFrame, computed, stored)
	}
	if g.kind < kindHello || g.kind > kindRefusal || g.lane >= transport.LaneCount {
		return fmt.Errorf("%w: handshake of kind %d for lane %d", transport.ErrFrame, g.kind, g.lane)
	}
	body := content[headSize:]
	g.identity.HostID = binary.LittleEndian.Uint64(body)
	g.identity.Epoch = binary.LittleEndian.Uint64(body[8:])
	g.process = binary.LittleEndian.Uint64(body[16:])
	g.refusal = refusal(binary.LittleEndian.Uint16(body[24:]))
	rest := body[fixedBody:]
	for _, text := range []*string{&g.identity.Deployment, &g.identity.Address, &g.target, &g.detail} {
		if len(rest) < 2 {
			return fmt.Errorf("%w: handshake ends inside its texts", transport.ErrFrame)
		}
		length := int(binary.LittleEndian.Uint16(rest))
		if rest = rest[2:]; length > maxTextLength || length > len(rest) {
			return fmt.Errorf("%w: handshake text of %d bytes, %d are left and %d allowed", transport.ErrFrame, length, len(rest), maxTextLength)
		}
		*text, rest = string(rest[:length]), rest[length:]
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes behind the handshake's texts", transport.ErrFrame, len(rest))
	}
	if g.identity.HostID == 0 || g.identity.Epoch == 0 || g.identity.Address == "" {
		return fmt.Errorf("%w: handshake without host id, epoch or address", transport.ErrFrame)
	}
	return nil
}

// refusalError turns a refusal that came back into an error.
func (g *greeting) refusalError(ours uint16) error {
	sentinel := transport.ErrFrame
	if int(g.refusal) < len(refusals) && refusals[g.refusal] != nil {
		sentinel = refusals[g.refusal]
	}
	if g.refusal == refusalStaleEpoch {
		sentinel = transport.ErrOwnEpoch
	}
	return fmt.Errorf("%w: refused by %q: %q (protocol version ours %d, theirs %d)",
		sentinel, g.identity.Address, g.detail, ours, g.version)
}
