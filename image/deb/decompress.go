package deb

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

const (
	// maxDictionary bounds the decoders' memory: dpkg's xz default is 8 MiB, xz -9 needs 64 MiB, dpkg's zstd 128 MiB.
	maxDictionary = 128 << 20
	readBuffer    = 256 << 10
)

// decompress opens the stream that a file name's suffix promises.
func decompress(suffix string, r io.Reader) (io.ReadCloser, error) {
	r = bufio.NewReaderSize(r, readBuffer)
	switch suffix {
	case "":
		return io.NopCloser(r), nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		x, err := xz.NewReader(r, maxDictionary)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDictionary))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("compression %q is not supported, want .xz, .zst, .gz or none", suffix)
}

// contextReader ends a long read when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
