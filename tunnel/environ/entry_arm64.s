#include "textflag.h"

// The kernel starts a process with this at SP: argc, argv…, 0, envp…, 0, auxv… (pairs, the last with tag 0).
// entry copies all of it but envp below that, saves where envp is, and goes on with the runtime's own entry point.
TEXT ·entry(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVD	RSP, R0
	MOVD	0(R0), R1
	ADD	$16, R0, R2
	ADD	R1<<3, R2, R2	// envp
	MOVD	R2, ·hidden(SB)
	MOVD	R2, R3
environment:
	MOVD	0(R3), R4
	ADD	$8, R3
	CBNZ	R4, environment
	MOVD	R3, R5	// auxv
auxiliary:
	MOVD	0(R5), R4
	ADD	$16, R5
	CBNZ	R4, auxiliary	// R5: behind auxv

	SUB	R3, R5, R6	// bytes of auxv
	ADD	R1<<3, R6, R6
	ADD	$24, R6	// and of argc, argv, and two zeros
	SUB	R6, R0, R7
	AND	$~15, R7, R7
	MOVD	R7, R8
arguments:
	CMP	R0, R2	// argc, argv…, 0
	BEQ	rest
	MOVD	0(R0), R4
	MOVD	R4, 0(R8)
	ADD	$8, R0
	ADD	$8, R8
	JMP	arguments
rest:
	MOVD	ZR, 0(R8)	// no envp
	ADD	$8, R8
values:
	CMP	R3, R5
	BEQ	start
	MOVD	0(R3), R4
	MOVD	R4, 0(R8)
	ADD	$8, R3
	ADD	$8, R8
	JMP	values
start:
	MOVD	R7, RSP
	JMP	_rt0_arm64_linux(SB)
