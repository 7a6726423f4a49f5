// Package ovmf reads TDX virtual firmware: the TDVF metadata at the end of the file, the memory sections it lists, and
// the three measurements that follow from them: MRTD, the TD HOB and the configuration volume (measure.md sections 1,
// 2.1 and 2.2).
//
// It owns the byte layouts and the hashing order. It trusts no byte of a firmware file: offsets are checked against
// the file, sizes against constants, and a file that QEMU would refuse to start as a TD is refused here, because a
// measurement of it means nothing. Values are plain data, safe for concurrent use; a Firmware aliases the image it was
// parsed from. The package does not repair firmware, and takes the memory split of a machine as an argument.
package ovmf
