package worker

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// friendlySize is the size of a user-friendly address: flags, workchain, hash and checksum.
const friendlySize = 36

// rawAddress turns a contract's address into its raw form, workchain:hash, which documents name it by.
func rawAddress(text string) (string, error) {
	if chain, hash, ok := strings.Cut(text, ":"); ok {
		n, err := strconv.ParseInt(chain, 10, 8)
		raw, hexErr := hex.DecodeString(hash)
		if err != nil || hexErr != nil || len(raw) != 32 {
			return "", errors.New("reading address: not workchain:hash")
		}
		return fmt.Sprintf("%d:%x", n, raw), nil
	}
	raw, err := base64.URLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(text))
	if err != nil || len(raw) != friendlySize {
		return "", errors.New("reading address: neither the raw nor the user-friendly form")
	}
	if crc16(raw[:friendlySize-2]) != uint16(raw[friendlySize-2])<<8|uint16(raw[friendlySize-1]) {
		return "", errors.New("reading address: wrong checksum")
	}
	return fmt.Sprintf("%d:%x", int8(raw[1]), raw[2:friendlySize-2]), nil //nolint:gosec // the workchain is a signed byte
}

// crc16 is CRC-16/XMODEM, the checksum of user-friendly addresses.
func crc16(data []byte) (crc uint16) {
	for _, b := range data {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
