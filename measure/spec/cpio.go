package spec

import (
	"bytes"
	"errors"
	"fmt"
)

// Layout of a newc record (image.md section 5): magic, 13 fields of 8 upper-case hex digits, name with NUL, padding to
// 4, data, padding to 4. Only mode, size and name length vary; nlink is 1 for files, everything else is zero.
const (
	newcMagic   = "070701"
	newcFields  = 13
	newcHeader  = len(newcMagic) + 8*newcFields
	newcTrailer = "TRAILER!!!"
	newcAlign   = 4

	fieldMode     = 1
	fieldNlink    = 4
	fieldSize     = 6
	fieldNameSize = 11

	modeRegular    = 0o100644
	modeExecutable = 0o100755
)

var errTruncated = errors.New("archive ends inside a record")

// encodeArchive writes the one archive of files.
func encodeArchive(files []File) []byte {
	size := newcHeader + 2*newcAlign + len(newcTrailer)
	for _, f := range files {
		size += newcHeader + len(f.Path) + len(f.Data) + 2*newcAlign
	}
	out := make([]byte, 0, size)
	for _, f := range files {
		var fields [newcFields]uint32
		fields[fieldMode], fields[fieldNlink], fields[fieldSize] = newcMode(f), 1, uint32(len(f.Data)) //nolint:gosec // at most MaxFileSize, by Check
		out = appendRecord(out, fields, f.Path)
		out = pad4(append(out, f.Data...))
	}
	return appendRecord(out, [newcFields]uint32{}, newcTrailer)
}

func newcMode(f File) uint32 {
	if f.Executable {
		return modeExecutable
	}
	return modeRegular
}

func appendRecord(out []byte, fields [newcFields]uint32, name string) []byte {
	fields[fieldNameSize] = uint32(len(name)) + 1 //nolint:gosec // at most MaxPath, by Check
	out = append(out, newcMagic...)
	for _, v := range fields {
		out = fmt.Appendf(out, "%08X", v)
	}
	return pad4(append(append(out, name...), 0))
}

func pad4(out []byte) []byte {
	for len(out)%newcAlign != 0 {
		out = append(out, 0)
	}
	return out
}

// parseArchive reads an archive and refuses any that encodeArchive would have written differently. File data aliases
// archive.
func parseArchive(archive []byte) ([]File, error) {
	if len(archive) > MaxSpecLength {
		return nil, fmt.Errorf("archive has %d bytes, at most %d", len(archive), MaxSpecLength)
	}
	c := cursor{data: archive}
	var files []File
	for {
		f, last, err := c.record()
		if err != nil {
			return nil, fmt.Errorf("record %d at byte %d: %w", len(files), c.start, err)
		}
		if last {
			break
		}
		if len(files) == MaxFiles {
			return nil, fmt.Errorf("archive has more than %d files", MaxFiles)
		}
		files = append(files, f)
	}
	if rest := len(archive) - c.off; rest != 0 {
		return nil, fmt.Errorf("%d bytes follow the end record", rest)
	}
	if err := Check(files); err != nil {
		return nil, err
	}
	// The cursor reads only the fields that vary; the comparison covers every other byte.
	if !bytes.Equal(encodeArchive(files), archive) {
		return nil, errors.New("archive is not in canonical form: a fixed field or a padding byte differs")
	}
	return files, nil
}

type cursor struct {
	data  []byte
	off   int
	start int // of the current record, for messages
}

func (c *cursor) take(n int) ([]byte, error) {
	if n > len(c.data)-c.off {
		return nil, errTruncated
	}
	out := c.data[c.off : c.off+n : c.off+n]
	c.off += n
	return out, nil
}

func (c *cursor) align() error {
	_, err := c.take(-c.off & (newcAlign - 1))
	return err
}

// record reads the record at the cursor; last reports the end record.
func (c *cursor) record() (f File, last bool, err error) {
	c.start = c.off
	head, err := c.take(newcHeader)
	if err != nil {
		return File{}, false, err
	}
	if string(head[:len(newcMagic)]) != newcMagic {
		return File{}, false, fmt.Errorf("magic is %q, want %q", head[:len(newcMagic)], newcMagic)
	}
	mode, err1 := newcField(head, fieldMode)
	size, err2 := newcField(head, fieldSize)
	nameSize, err3 := newcField(head, fieldNameSize)
	if err := errors.Join(err1, err2, err3); err != nil {
		return File{}, false, err
	}
	if nameSize < 2 || nameSize > MaxPath+1 {
		return File{}, false, fmt.Errorf("name has %d bytes with its NUL, want 2..%d", nameSize, MaxPath+1)
	}
	name, err := c.take(int(nameSize))
	if err != nil {
		return File{}, false, err
	}
	if err := c.align(); err != nil {
		return File{}, false, err
	}
	f.Path = string(name[:len(name)-1])
	if f.Path == newcTrailer {
		return File{}, true, nil
	}
	if mode != modeRegular && mode != modeExecutable {
		return File{}, false, fmt.Errorf("file %q has mode %#o, want %#o or %#o", f.Path, mode, modeRegular, modeExecutable)
	}
	f.Executable = mode == modeExecutable
	if size > MaxFileSize {
		return File{}, false, fmt.Errorf("file %q has %d bytes, at most %d", f.Path, size, MaxFileSize)
	}
	if f.Data, err = c.take(int(size)); err != nil {
		return File{}, false, err
	}
	return f, false, c.align()
}

func newcField(head []byte, field int) (uint32, error) {
	var v uint32
	start := len(newcMagic) + 8*field
	for _, d := range head[start : start+8] {
		switch {
		case '0' <= d && d <= '9':
			v = v<<4 | uint32(d-'0')
		case 'A' <= d && d <= 'F':
			v = v<<4 | uint32(d-'A'+10)
		default:
			return 0, fmt.Errorf("header field %d is %q, want 8 upper-case hex digits", field, head[start:start+8])
		}
	}
	return v, nil
}
