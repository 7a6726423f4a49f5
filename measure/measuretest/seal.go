package measuretest

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"cocoon/measure/tdx"
)

const (
	// SealKeySize is the size of a seal key.
	SealKeySize = 32
	// maxSealLabel bounds the name of a seal key (seal.md section 1: key_name has 1 to 256 bytes).
	maxSealLabel = 256
)

// SealKey is a secret that only this TD, as it is measured now, gets for the label on this machine: HKDF over the
// platform's report key with every measurement, the attributes and the label in it. A debug TD, another image and the
// same TD after one more extend get other keys.
func (t *TD) SealKey(label string) ([]byte, error) {
	if label == "" || len(label) > maxSealLabel {
		return nil, fmt.Errorf("deriving seal key: the label has %d bytes, want 1 to %d", len(label), maxSealLabel)
	}
	m := t.Measurements()
	info := []byte("cocoon software TDX v1 seal key\x00")
	for _, d := range []tdx.Digest{m.MRTD, m.MRConfigID, m.MROwner, m.MROwnerConfig, m.RTMR[0], m.RTMR[1], m.RTMR[2], m.RTMR[3]} {
		info = append(info, d[:]...)
	}
	info = binary.LittleEndian.AppendUint64(info, t.opts.Attributes)
	info = binary.LittleEndian.AppendUint64(info, t.opts.XFAM)
	info = append(info, label...)
	key, err := hkdf.Key(sha256.New, t.platform.reportKey, nil, string(info), SealKeySize)
	if err != nil {
		return nil, fmt.Errorf("deriving seal key: %w", err)
	}
	return key, nil
}
