package diff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// maxInMemory bounds the artefacts that are read whole: UKI, initrd and listings.
	maxInMemory = 512 << 20
	chunk       = 1 << 20
)

// firstDifference finds the first byte where two streams differ. The finding's values are the two bytes, or the
// place where the shorter stream ends.
func firstDifference(ctx context.Context, a, b io.Reader) (Finding, bool, error) {
	bufA, bufB := make([]byte, chunk), make([]byte, chunk)
	var offset int64
	for {
		if err := ctx.Err(); err != nil {
			return Finding{}, false, err
		}
		nA, errA := io.ReadFull(a, bufA)
		nB, errB := io.ReadFull(b, bufB)
		n := min(nA, nB)
		if !bytes.Equal(bufA[:n], bufB[:n]) {
			at := 0
			for bufA[at] == bufB[at] {
				at++
			}
			return Finding{
				What: "content", Offset: offset + int64(at),
				A: fmt.Sprintf("0x%02x", bufA[at]), B: fmt.Sprintf("0x%02x", bufB[at]),
			}, false, nil
		}
		offset += int64(n)
		if nA != nB {
			return Finding{What: "content", Offset: offset, A: tail(nA > n), B: tail(nB > n)}, false, nil
		}
		if errA != nil || errB != nil {
			return Finding{}, true, readError(errA, errB)
		}
	}
}

func tail(more bool) string {
	if more {
		return "more data"
	}
	return "end"
}

// readError drops the two ways in which io.ReadFull reports the end.
func readError(errs ...error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
	}
	return nil
}

func firstDifferenceOfFiles(ctx context.Context, nameA, nameB string) (Finding, bool, error) {
	a, err := os.Open(nameA)
	if err != nil {
		return Finding{}, false, err
	}
	defer a.Close() //nolint:errcheck // read side
	b, err := os.Open(nameB)
	if err != nil {
		return Finding{}, false, err
	}
	defer b.Close() //nolint:errcheck // read side
	return firstDifference(ctx, a, b)
}

// compareFiles hands two whole files to a comparison in memory.
func compareFiles(nameA, nameB string, cmp func(a, b []byte) ([]Finding, error)) ([]Finding, error) {
	a, err := readBounded(nameA)
	if err != nil {
		return nil, err
	}
	b, err := readBounded(nameB)
	if err != nil {
		return nil, err
	}
	return cmp(a, b)
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(io.LimitReader(f, maxInMemory+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxInMemory {
		return nil, fmt.Errorf("%s has over %d bytes", name, maxInMemory)
	}
	return data, nil
}
