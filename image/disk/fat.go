package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Offsets in a FAT32 boot sector, its information sector and its directory entries (Microsoft FAT specification).
const (
	bpbSectorSize   = 11
	bpbPerCluster   = 13
	bpbReserved     = 14
	bpbFATs         = 16
	bpbTotal        = 32
	bpbFATSize      = 36
	bpbRootCluster  = 44
	bpbInfoSector   = 48
	bpbBackup       = 50
	infoLead        = 0x41615252
	infoFree        = 488
	entrySize       = 32
	entryAttr       = 11
	attrDirectory   = 0x10
	attrLongName    = 0x0f
	entryClusterTop = 20
	entryCluster    = 26
	fatMask         = 0x0fffffff
	firstCluster    = 2
	endOfChain      = 0x0ffffff8
)

// fat32 is the geometry of a FAT32 file system.
type fat32 struct {
	r           io.ReaderAt
	clusterSize int64
	dataStart   int64
	rootCluster uint32
	infoSectors []int64 // offsets of the information sector and its backup
	table       []byte  // first copy of the FAT
	clusters    uint32  // data clusters
}

// repairFAT makes the two corrections of image.md section 8.3: ".." of a first-level directory must name cluster 0,
// which stands for the root, and the count of free clusters must be real.
func repairFAT(r io.ReaderAt, w io.WriterAt) error {
	fs, err := readFAT(r)
	if err != nil {
		return err
	}
	var firstLevel []uint32
	err = fs.eachEntry(fs.rootCluster, func(e []byte, _ int64) {
		if e[entryAttr] != attrLongName && e[entryAttr]&attrDirectory != 0 && e[0] != '.' {
			firstLevel = append(firstLevel, clusterOf(e))
		}
	})
	if err != nil {
		return fmt.Errorf("reading the root directory: %w", err)
	}
	for _, dir := range firstLevel {
		if err := fs.rootParent(w, dir); err != nil {
			return err
		}
	}
	var free [4]byte
	binary.LittleEndian.PutUint32(free[:], fs.freeClusters())
	for _, at := range fs.infoSectors {
		if _, err := w.WriteAt(free[:], at+infoFree); err != nil {
			return fmt.Errorf("writing the free count: %w", err)
		}
	}
	return nil
}

// readFAT reads the geometry and the table.
func readFAT(r io.ReaderAt) (*fat32, error) {
	b := make([]byte, sectorSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("reading the boot sector: %w", err)
	}
	le := binary.LittleEndian
	fatSize, reserved := int64(le.Uint32(b[bpbFATSize:]))*sectorSize, int64(le.Uint16(b[bpbReserved:]))*sectorSize
	fs := &fat32{
		r:           r,
		clusterSize: int64(b[bpbPerCluster]) * sectorSize,
		dataStart:   reserved + int64(b[bpbFATs])*fatSize,
		rootCluster: le.Uint32(b[bpbRootCluster:]),
	}
	total := int64(le.Uint32(b[bpbTotal:])) * sectorSize
	if le.Uint16(b[bpbSectorSize:]) != sectorSize || fs.clusterSize == 0 || fatSize > maxESP/64 || total > maxESP || total <= fs.dataStart {
		return nil, errors.New("the boot sector has a geometry that we did not ask for")
	}
	fs.clusters = uint32((total - fs.dataStart) / fs.clusterSize) //nolint:gosec // at most maxESP
	if fatSize < 4*(int64(fs.clusters)+firstCluster) {
		return nil, fmt.Errorf("a table of %d bytes is too small for %d clusters", fatSize, fs.clusters)
	}
	info := int64(le.Uint16(b[bpbInfoSector:]))
	for _, sector := range []int64{info, info + int64(le.Uint16(b[bpbBackup:]))} {
		lead := make([]byte, 4)
		if _, err := r.ReadAt(lead, sector*sectorSize); err != nil {
			return nil, fmt.Errorf("reading sector %d: %w", sector, err)
		}
		if le.Uint32(lead) != infoLead {
			return nil, fmt.Errorf("sector %d is no information sector", sector)
		}
		fs.infoSectors = append(fs.infoSectors, sector*sectorSize)
	}
	fs.table = make([]byte, fatSize)
	if _, err := r.ReadAt(fs.table, reserved); err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	return fs, nil
}

// next is the table's entry of a cluster.
func (fs *fat32) next(cluster uint32) uint32 {
	return binary.LittleEndian.Uint32(fs.table[4*cluster:]) & fatMask
}

// freeClusters counts the entries that are 0.
func (fs *fat32) freeClusters() uint32 {
	var free uint32
	for c := range fs.clusters {
		if fs.next(c+firstCluster) == 0 {
			free++
		}
	}
	return free
}

// eachEntry calls visit for every entry of the directory that starts at a cluster, with its offset.
func (fs *fat32) eachEntry(cluster uint32, visit func(e []byte, at int64)) error {
	buf := make([]byte, fs.clusterSize)
	for range fs.clusters {
		if cluster >= endOfChain {
			return nil
		}
		if cluster < firstCluster || cluster >= fs.clusters+firstCluster {
			return fmt.Errorf("chain names cluster %d of %d", cluster, fs.clusters)
		}
		at := fs.dataStart + int64(cluster-firstCluster)*fs.clusterSize
		if _, err := fs.r.ReadAt(buf, at); err != nil {
			return err
		}
		for i := 0; i < len(buf); i += entrySize {
			if buf[i] == 0 {
				return nil
			}
			visit(buf[i:i+entrySize], at+int64(i))
		}
		cluster = fs.next(cluster)
	}
	return errors.New("chain without an end")
}

// rootParent makes ".." of a directory name cluster 0.
func (fs *fat32) rootParent(w io.WriterAt, dir uint32) error {
	var found int64 = -1
	err := fs.eachEntry(dir, func(e []byte, at int64) {
		if string(e[:11]) == "..         " {
			found = at
		}
	})
	if err != nil {
		return fmt.Errorf("reading the directory at cluster %d: %w", dir, err)
	}
	if found < 0 {
		return fmt.Errorf("the directory at cluster %d has no parent entry", dir)
	}
	for _, field := range []int64{entryClusterTop, entryCluster} {
		if _, err := w.WriteAt([]byte{0, 0}, found+field); err != nil {
			return fmt.Errorf("writing a parent entry: %w", err)
		}
	}
	return nil
}

func clusterOf(e []byte) uint32 {
	return uint32(binary.LittleEndian.Uint16(e[entryClusterTop:]))<<16 | uint32(binary.LittleEndian.Uint16(e[entryCluster:]))
}
