package ovmf

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"

	"cocoon/measure/tdx"
)

// Order is the sequence in which a VMM issues the two SEAMCALLs that build MRTD (measure.md section 1.3).
type Order uint8

const (
	// SinglePass adds each page and extends it at once: Linux >= 6.16 with QEMU >= 10.1, Google, td-shim's tool.
	SinglePass Order = iota
	// TwoPassPerSection adds all pages of a section, then extends them: Intel's and Canonical's QEMU 8 stacks.
	TwoPassPerSection
)

// String names the order as the command line does.
func (o Order) String() string {
	switch o {
	case SinglePass:
		return "single-pass"
	case TwoPassPerSection:
		return "two-pass"
	}
	return fmt.Sprintf("order %d", uint8(o))
}

// MRTD record layout (TDX module specification, TDH.MEM.PAGE.ADD and TDH.MR.EXTEND): a 128-byte block with the name at
// 0 and the guest physical address at 16; MR.EXTEND is followed by the 256 bytes it covers.
const (
	pageAddName  = "MEM.PAGE.ADD"
	mrExtendName = "MR.EXTEND"
	recordSize   = 128
	recordGPA    = 16
	chunkSize    = 256
)

// MRTD computes the build-time measurement of a TD started with the firmware image.
func MRTD(image []byte, order Order) (tdx.Digest, error) {
	sections, err := Sections(image)
	if err != nil {
		return tdx.Digest{}, err
	}
	return measure(image, sections, order)
}

// measure hashes checked sections in metadata order. Two passes differ from one only in the interleaving.
func measure(image []byte, sections []Section, order Order) (tdx.Digest, error) {
	b := newBuilder()
	for _, s := range sections {
		switch order {
		case SinglePass:
			b.section(image, s, s.added(), s.measured())
		case TwoPassPerSection:
			b.section(image, s, s.added(), false)
			b.section(image, s, false, s.measured())
		default:
			return tdx.Digest{}, fmt.Errorf("computing MRTD: %s is neither single-pass nor two-pass", order)
		}
	}
	return b.sum(), nil
}

// builder streams records into SHA-384 from two reused blocks. Every write is a multiple of the hash's 128-byte block
// and so goes through without being copied.
type builder struct {
	hash   hash.Hash
	add    [recordSize]byte
	extend [recordSize]byte
	tail   [chunkSize]byte // a chunk that crosses the end of the content, zero-padded
	zero   [chunkSize]byte
}

func newBuilder() *builder {
	b := &builder{hash: sha512.New384()}
	copy(b.add[:], pageAddName)
	copy(b.extend[:], mrExtendName)
	return b
}

func (b *builder) sum() (d tdx.Digest) {
	b.hash.Sum(d[:0])
	return d
}

func (b *builder) section(image []byte, s Section, add, extend bool) {
	data := s.data(image)
	for off := uint64(0); off < s.MemorySize; off += PageSize {
		if add {
			binary.LittleEndian.PutUint64(b.add[recordGPA:], s.Address+off)
			b.hash.Write(b.add[:])
		}
		if extend {
			b.page(data[min(off, uint64(len(data))):], s.Address+off)
		}
	}
}

// page extends the 16 chunks of a page whose content is the first bytes of data, zero after its end.
func (b *builder) page(data []byte, gpa uint64) {
	for off := 0; off < PageSize; off += chunkSize {
		binary.LittleEndian.PutUint64(b.extend[recordGPA:], gpa+uint64(off))
		b.hash.Write(b.extend[:])
		switch {
		case off+chunkSize <= len(data):
			b.hash.Write(data[off : off+chunkSize])
		case off < len(data):
			b.tail = b.zero
			copy(b.tail[:], data[off:])
			b.hash.Write(b.tail[:])
		default:
			b.hash.Write(b.zero[:])
		}
	}
}
