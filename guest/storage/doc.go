// Package storage opens the guest's read-only volumes: it finds a block device, puts dm-verity over it through
// device-mapper ioctls, and mounts the result (image.md sections 6.2 and 6.3).
//
// It owns the verity table and the ioctl buffers. It trusts the geometry, salt and root hash it is given (they come
// from measured data) and nothing on the device: no superblock, no partition table and no file system is read
// before verity is active. Serial numbers, partition names and sizes are the host's words; they locate a device and
// never vouch for it. All values are plain data; the methods keep no state between calls. It refuses two devices of
// the same name, a device shorter than its tree, and any table that would let reads pass unchecked.
package storage
