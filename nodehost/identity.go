package nodehost

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// identity is what a data directory says of its host; see the package comment for the layout of the file.
type identity struct {
	hostID     uint64 // random, never 0
	epoch      uint64 // of the latest start, from 1
	deployment string
	address    string
}

const (
	identityMagic     = "FLTLHOST"
	identityVersion   = 1
	identityFixed     = 8 + 2 + 2 + 8 + 8 + 2 + 2
	identityMaxLength = identityFixed + 2*maxNameBytes + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the file's content.
func (id *identity) encode() []byte {
	content := make([]byte, 0, identityFixed+len(id.deployment)+len(id.address)+4)
	content = append(content, identityMagic...)
	content = binary.LittleEndian.AppendUint16(content, identityVersion)
	content = binary.LittleEndian.AppendUint16(content, 0)
	content = binary.LittleEndian.AppendUint64(content, id.hostID)
	content = binary.LittleEndian.AppendUint64(content, id.epoch)
	content = binary.LittleEndian.AppendUint16(content, uint16(len(id.deployment)))
	content = binary.LittleEndian.AppendUint16(content, uint16(len(id.address)))
	content = append(content, id.deployment...)
	content = append(content, id.address...)
	return binary.LittleEndian.AppendUint32(content, crc32.Checksum(content, castagnoli))
}

// decodeIdentity reads what encode wrote. The checks come in an order that says most: a file of a later version, which ends with such a
// checksum too, is refused by its version, and a version byte that has rotted is not taken for one. Errors match ErrIdentityDamaged.
func decodeIdentity(content []byte) (identity, error) {
	fail := func(format string, arguments ...any) (identity, error) {
		return identity{}, fmt.Errorf("%w: %s", ErrIdentityDamaged, fmt.Sprintf(format, arguments...))
	}
	if len(content) < identityFixed+4 || len(content) > identityMaxLength {
		return fail("length is %d, want %d to %d", len(content), identityFixed+4, identityMaxLength)
	}
	if magic := string(content[:8]); magic != identityMagic {
		return fail("magic is %q, want %q", magic, identityMagic)
	}
	body, sum := content[:len(content)-4], binary.LittleEndian.Uint32(content[len(content)-4:])
	if computed := crc32.Checksum(body, castagnoli); computed != sum {
		return fail("checksum is %08x, computed is %08x", sum, computed)
	}
	if version := binary.LittleEndian.Uint16(content[8:]); version != identityVersion {
		return fail("version is %d, this program reads version %d", version, identityVersion)
	}
	if reserved := binary.LittleEndian.Uint16(content[10:]); reserved != 0 {
		return fail("reserved field is %d, want 0", reserved)
	}
	id := identity{hostID: binary.LittleEndian.Uint64(content[12:]), epoch: binary.LittleEndian.Uint64(content[20:])}
	deployment, address := int(binary.LittleEndian.Uint16(content[28:])), int(binary.LittleEndian.Uint16(content[30:]))
	if deployment > maxNameBytes || address > maxNameBytes || identityFixed+deployment+address != len(body) {
		return fail("lengths of names are %d and %d in a file of %d bytes", deployment, address, len(content))
	}
	if id.hostID == 0 || id.epoch == 0 || deployment == 0 || address == 0 {
		return fail("host id, epoch or a name is empty")
	}
	names := body[identityFixed:]
	id.deployment, id.address = string(names[:deployment]), string(names[deployment:])
	return id, nil
}
