package oci

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"cocoon/image/rootfs"
)

const (
	// maxLayer bounds the layer, which is held in memory.
	maxLayer = 512 << 20
	// maxStored is the longest stored block (RFC 1951 section 3.2.4).
	maxStored = 0xffff
)

// layer is a tar within a gzip frame that does not compress: every engine reads it, and no version of a compressor can
// change its bytes. It implements v1.Layer.
type layer struct {
	tar, framed []byte
	diff, sum   v1.Hash
}

func newLayer(t *rootfs.Tree, created time.Time) (*layer, error) {
	data, err := tarOf(t, created)
	if err != nil {
		return nil, fmt.Errorf("making layer: %w", err)
	}
	l := &layer{tar: data, framed: stored(data)}
	for hash, of := range map[*v1.Hash][]byte{&l.diff: l.tar, &l.sum: l.framed} {
		if *hash, _, err = v1.SHA256(bytes.NewReader(of)); err != nil {
			return nil, fmt.Errorf("making layer: %w", err)
		}
	}
	return l, nil
}

// Digest implements v1.Layer.
func (l *layer) Digest() (v1.Hash, error) { return l.sum, nil }

// DiffID implements v1.Layer.
func (l *layer) DiffID() (v1.Hash, error) { return l.diff, nil }

// Compressed implements v1.Layer.
func (l *layer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.framed)), nil
}

// Uncompressed implements v1.Layer.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.tar)), nil
}

// Size implements v1.Layer.
func (l *layer) Size() (int64, error) { return int64(len(l.framed)), nil }

// MediaType implements v1.Layer.
func (l *layer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

// stored is data in a gzip frame of stored blocks (RFC 1952, RFC 1951 section 3.2.4), without name or time.
func stored(data []byte) []byte {
	const unknownSystem = 0xff
	out := make([]byte, 0, len(data)+len(data)/maxStored*5+32)
	out = append(out, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, unknownSystem)
	for rest := data; ; {
		block := rest[:min(len(rest), maxStored)]
		rest = rest[len(block):]
		last := byte(0)
		if len(rest) == 0 {
			last = 1
		}
		out = binary.LittleEndian.AppendUint16(append(out, last), uint16(len(block)))      //nolint:gosec // at most maxStored
		out = append(binary.LittleEndian.AppendUint16(out, ^uint16(len(block))), block...) //nolint:gosec // at most maxStored
		if last == 1 {
			break
		}
	}
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(data))
	return binary.LittleEndian.AppendUint32(out, uint32(len(data))) //nolint:gosec // the format takes the length modulo 2^32
}

// tarOf is a tree as a tar: sorted, with one time, and with numbers for owners.
func tarOf(t *rootfs.Tree, created time.Time) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, n := range t.Nodes() {
		if n.Path == "." {
			continue
		}
		h := &tar.Header{Name: n.Path, Mode: int64(n.Inode.Mode), Uid: int(n.Inode.UID), Gid: int(n.Inode.GID), ModTime: created.UTC(), Format: tar.FormatUSTAR}
		switch n.Inode.Type {
		case rootfs.File:
			h.Typeflag, h.Size = tar.TypeReg, n.Inode.Content.Size
		case rootfs.Dir:
			h.Typeflag, h.Name = tar.TypeDir, n.Path+"/"
		case rootfs.Symlink:
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, n.Inode.Target, 0o777
		default:
			return nil, fmt.Errorf("%s: a node of type %d has no place in a layer", n.Path, n.Inode.Type)
		}
		if int64(out.Len())+h.Size > maxLayer {
			return nil, fmt.Errorf("%s: the layer exceeds %d bytes", n.Path, maxLayer)
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("%s: %w", n.Path, err)
		}
		if n.Inode.Type == rootfs.File {
			if err := copyContent(w, n.Inode.Content); err != nil {
				return nil, fmt.Errorf("%s: %w", n.Path, err)
			}
		}
	}
	return out.Bytes(), w.Close()
}

func copyContent(w io.Writer, c rootfs.Content) error {
	r, err := c.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, r.Close())
}
