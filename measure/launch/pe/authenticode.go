package pe

import (
	"crypto/sha512"

	"cocoon/measure/tdx"
)

// Authenticode is the SHA-384 the firmware extends for an image it loads: the file without the CheckSum field, the
// certificate table's directory entry and the certificates themselves (Windows Authenticode PE signature format,
// "Calculating the PE image hash", as EDK2's DxeTpm2MeasureBootLib does it).
func (img *Image) Authenticode() tdx.Digest {
	h := sha512.New384()
	h.Write(img.data[:img.checksum])
	afterSum := img.checksum + 4
	if img.security != 0 {
		h.Write(img.data[afterSum:img.security])
		h.Write(img.data[img.security+dirSize : img.headers])
	} else {
		h.Write(img.data[afterSum:img.headers])
	}
	hashed := int64(img.headers)
	for _, s := range img.byRawOffset() {
		h.Write(img.data[s.RawOffset:][:s.RawSize])
		hashed += int64(s.RawSize)
	}
	// EDK2 counts hashed bytes, not positions: a gap between sections moves this start, and so do we.
	if end := int64(len(img.data)) - int64(img.certSize); end > hashed {
		h.Write(img.data[hashed:end])
	}
	return tdx.Digest(h.Sum(nil))
}
