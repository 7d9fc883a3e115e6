package sshd

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Terminal modes of RFC 4254, 8, by opcode. The client sends those of its own terminal.
var (
	controlModes = map[byte]int{
		1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
		8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT, 18: unix.VDISCARD,
	}
	inputModes = map[byte]uint32{
		30: unix.IGNPAR, 31: unix.PARMRK, 32: unix.INPCK, 33: unix.ISTRIP, 34: unix.INLCR, 35: unix.IGNCR, 36: unix.ICRNL,
		37: unix.IUCLC, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF, 41: unix.IMAXBEL, 42: unix.IUTF8,
	}
	localModes = map[byte]uint32{
		50: unix.ISIG, 51: unix.ICANON, 52: unix.XCASE, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK, 56: unix.ECHONL,
		57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN, 60: unix.ECHOCTL, 61: unix.ECHOKE, 62: unix.PENDIN,
	}
	outputModes = map[byte]uint32{
		70: unix.OPOST, 71: unix.OLCUC, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET,
	}
	hardwareModes = map[byte]uint32{90: unix.CS7, 91: unix.CS8, 92: unix.PARENB, 93: unix.PARODD}
)

// speeds are what terminals may have, in baud.
var speeds = map[uint32]uint32{
	50: unix.B50, 75: unix.B75, 110: unix.B110, 134: unix.B134, 150: unix.B150, 200: unix.B200, 300: unix.B300, 600: unix.B600,
	1200: unix.B1200, 1800: unix.B1800, 2400: unix.B2400, 4800: unix.B4800, 9600: unix.B9600, 19200: unix.B19200,
	38400: unix.B38400, 57600: unix.B57600, 115200: unix.B115200, 230400: unix.B230400,
}

const (
	inputSpeed, outputSpeed = 128, 129

	lastModeWithArgument = 159 // of 4 bytes; the length of later opcodes is unknown
	noCharacter          = 255
)

// setModes applies the encoded modes to a terminal; ignores unknown opcodes.
func setModes(tty *os.File, modes []byte) error {
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	for len(modes) > 0 && modes[0] != 0 && modes[0] <= lastModeWithArgument {
		if len(modes) < 5 {
			return errors.New("terminal modes cut short")
		}
		setMode(state, modes[0], binary.BigEndian.Uint32(modes[1:]))
		modes = modes[5:]
	}
	return unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, state)
}

func setMode(state *unix.Termios, opcode byte, value uint32) {
	if index, ok := controlModes[opcode]; ok {
		if value == noCharacter {
			value = 0 // _POSIX_VDISABLE
		}
		state.Cc[index] = byte(value)
		return
	}
	if opcode == inputSpeed || opcode == outputSpeed { // Linux has one for both
		if speed, ok := speeds[value]; ok {
			state.Cflag = state.Cflag&^unix.CBAUD | speed
		}
		return
	}
	setFlag(&state.Iflag, inputModes[opcode], value)
	setFlag(&state.Lflag, localModes[opcode], value)
	setFlag(&state.Oflag, outputModes[opcode], value)
	setFlag(&state.Cflag, hardwareModes[opcode], value)
}

func setFlag(flags *uint32, flag, value uint32) {
	if value != 0 {
		*flags |= flag
	} else {
		*flags &^= flag
	}
}
