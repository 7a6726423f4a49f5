package ovmf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"cocoon/measure/tdx"
)

// Firmware is what predictions need to know of a firmware file.
type Firmware struct {
	// SHA256 names the file.
	SHA256 [sha256.Size]byte
	// Size is the length of the file in bytes.
	Size int
	// Sections is the memory map, in metadata order.
	Sections []Section
	// SinglePass and TwoPass are MRTD in the two orders.
	SinglePass, TwoPass tdx.Digest

	cfv []byte
}

// Parse reads and measures a firmware file. The result aliases image.
func Parse(image []byte) (*Firmware, error) {
	sections, err := Sections(image)
	if err != nil {
		return nil, err
	}
	fw := &Firmware{SHA256: sha256.Sum256(image), Size: len(image), Sections: sections}
	if fw.SinglePass, err = measure(image, sections, SinglePass); err != nil {
		return nil, err
	}
	if fw.TwoPass, err = measure(image, sections, TwoPassPerSection); err != nil {
		return nil, err
	}
	if cfv, ok := find(sections, CFV); ok {
		fw.cfv = cfv.data(image)
	}
	return fw, nil
}

// SHA256Hex is the file's SHA-256 in lower-case hex.
func (f *Firmware) SHA256Hex() string { return hex.EncodeToString(f.SHA256[:]) }

// MRTD is the value for one order.
func (f *Firmware) MRTD(order Order) (tdx.Digest, error) {
	switch order {
	case SinglePass:
		return f.SinglePass, nil
	case TwoPassPerSection:
		return f.TwoPass, nil
	}
	return tdx.Digest{}, fmt.Errorf("choosing MRTD: %s is neither single-pass nor two-pass", order)
}

// CFV is the content of the configuration volume, the variable store; nil when the firmware has none.
func (f *Firmware) CFV() []byte { return f.cfv }

// CFVDigest is the digest of the CFV event in RTMR0 (measure.md section 2, row 2).
func (f *Firmware) CFVDigest() (tdx.Digest, error) {
	if f.cfv == nil {
		return tdx.Digest{}, fmt.Errorf("hashing configuration volume: firmware %s has no CFV section", f.SHA256Hex())
	}
	return tdx.Sum(f.cfv), nil
}

// HOB is the hashed TD HOB of a machine with ram bytes of memory.
func (f *Firmware) HOB(ram uint64, split Split) ([]byte, error) { return HOB(f.Sections, ram, split) }

// WithCFV returns a copy of a firmware image whose variable store is replaced. MRTD does not cover the store, so it
// stays the same (measure.md section 0, point 4).
func WithCFV(image, store []byte) ([]byte, error) {
	sections, err := Sections(image)
	if err != nil {
		return nil, err
	}
	cfv, ok := find(sections, CFV)
	if !ok {
		return nil, errors.New("replacing variable store: the firmware has no CFV section")
	}
	if len(store) != int(cfv.RawSize) {
		return nil, fmt.Errorf("replacing variable store: the store has %d bytes, the firmware's CFV section %d", len(store), cfv.RawSize)
	}
	out := bytes.Clone(image)
	copy(cfv.data(out), store)
	// The section lists its own place in the file, so a store that overlaps the metadata could rewrite it.
	if _, err := Sections(out); err != nil {
		return nil, fmt.Errorf("replacing variable store: %w", err)
	}
	return out, nil
}

func find(sections []Section, t SectionType) (Section, bool) {
	for _, s := range sections {
		if s.Type == t {
			return s, true
		}
	}
	return Section{}, false
}
