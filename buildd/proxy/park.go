package proxy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotParked means that the kernel has no token of that id: it was forgotten,
// or the machine was restarted since.
var ErrNotParked = errors.New("no token is parked")

const keySize = 32

// ParkingID is a new id under which the token of a build can be parked. It is to
// be written down, in the ledger, before Park: it consists of the build's id and
// of a key, and alone it tells nobody anything.
//
// A parked token is in the keyring of this user (root) in the kernel: it survives
// the death of every process, is never on a disk, and is gone after a restart of
// the machine. Since the root of a privileged container has the same keyring, it
// is there only as encrypted with the key of the id.
func ParkingID(buildID string) string {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	return buildID + "/" + hex.EncodeToString(key)
}

// parkingID splits what ParkingID has made.
func parkingID(id string) (description string, sealer cipher.AEAD, err error) {
	i := strings.LastIndexByte(id, '/')
	key, err := hex.DecodeString(id[i+1:])
	if i < 1 || err != nil || len(key) != keySize || strings.ContainsRune(id, 0) {
		return "", nil, errors.New("this is not the id of a parked token")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", nil, err
	}
	sealer, err = cipher.NewGCMWithRandomNonce(block)
	// Two builders of a machine may have had builds of one id.
	sum := sha256.Sum256(key)
	return "lpbuildd:" + id[:i] + "/" + hex.EncodeToString(sum[:4]), sealer, err
}

// Park keeps the token in the kernel under an id of ParkingID. An error means
// that revocation cannot survive a crash, and nothing else.
func (t Token) Park(id string) error {
	description, sealer, err := parkingID(id)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(t)
	if err != nil {
		return err
	}
	sealed := sealer.Seal(nil, nil, plain, []byte(description))
	err = withKeyring(func(ring int) error {
		_, err := unix.AddKey("user", description, sealed, ring)
		return err
	})
	return keyringError("park the token of the build in", err)
}

// Unpark is the token that was parked under id, which stays parked. The error is
// ErrNotParked if there is none.
func Unpark(id string) (Token, error) {
	description, sealer, err := parkingID(id)
	if err != nil {
		return Token{}, err
	}
	var sealed []byte
	err = withKeyring(func(ring int) error {
		key, err := unix.KeyctlSearch(ring, "user", description, 0)
		if err == nil {
			sealed, err = readKey(key)
		}
		return err
	})
	if gone(err) {
		return Token{}, ErrNotParked
	}
	if err != nil {
		return Token{}, keyringError("read the token of the build from", err)
	}
	plain, err := sealer.Open(nil, nil, sealed, []byte(description))
	if err != nil {
		return Token{}, errors.New("cannot read the parked token: it was changed, or parked under another id")
	}
	var t Token
	return t, json.Unmarshal(plain, &t)
}

// Forget removes the token that is parked under id, if there is one.
func Forget(id string) error {
	description, _, err := parkingID(id)
	if err != nil {
		return err
	}
	err = withKeyring(func(ring int) error {
		key, err := unix.KeyctlSearch(ring, "user", description, 0)
		if err == nil {
			_, err = unix.KeyctlInt(unix.KEYCTL_UNLINK, key, ring, 0, 0)
		}
		return err
	})
	if gone(err) {
		return nil
	}
	return keyringError("remove the token of the build from", err)
}

func gone(err error) bool {
	return errors.Is(err, unix.ENOKEY) || errors.Is(err, unix.EKEYREVOKED) || errors.Is(err, unix.EKEYEXPIRED)
}

// withKeyring runs do on a thread that possesses the user's keyring. The kernel
// shows keys only to threads that do, and a service's thread does not when its
// session was made for it alone. The thread ends with do, and its keyring too.
func withKeyring(do func(ring int) error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and no unlocking: it ends the thread
		_, err := unix.KeyctlInt(unix.KEYCTL_LINK, unix.KEY_SPEC_USER_KEYRING, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
		if err == nil {
			err = do(unix.KEY_SPEC_USER_KEYRING)
		}
		done <- err
	}()
	return <-done
}

func readKey(key int) ([]byte, error) {
	size, err := unix.KeyctlBuffer(unix.KEYCTL_READ, key, nil, 0)
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, key, data, 0)
	return data[:min(n, size)], err
}

func keyringError(do string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("cannot %s the kernel's keyring, which is not available here: %w", do, err)
	case errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("cannot %s the kernel's keyring, which is full (kernel.keys.root_maxkeys): %w", do, err)
	}
	return fmt.Errorf("cannot %s the kernel's keyring: %w", do, err)
}
