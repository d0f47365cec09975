/*
 * seed_frames.S - a small library whose unwind tables say everything that such tables can, for
 * fuzz_unwind. The code is never run.
 */
    .text
    .macro function name
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
    .endm
    .macro end name
    ret
    .cfi_endproc
    .size \name, . - \name
    .endm

    function pushes
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    push %r12
    .cfi_adjust_cfa_offset 8
    .cfi_offset %r12, -24
    sub $1000, %rsp
    .cfi_adjust_cfa_offset 1000
    .cfi_remember_state
    .skip 100
    add $1000, %rsp
    .cfi_adjust_cfa_offset -1000
    pop %r12
    .cfi_restore %r12
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_restore_state
    .skip 300
    end pushes

    function expressions
    .cfi_escape 0x0f, 3, 0x76, 0x78, 0x06 /* CFA: *(rbp - 8) */
    .cfi_escape 0x10, 3, 2, 0x76, 0x70    /* rbx at rbp - 16 */
    .cfi_escape 0x10, 12, 2, 0x76, 0x68   /* r12 at rbp - 24 */
    nop
    .cfi_escape 0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22
    nop
    .cfi_escape 0x0f, 6, 0x77, 0x98, 0x01, 0x06, 0x23, 8 /* *(rsp + 152) + 8 */
    nop
    .cfi_escape 0x0f, 12, 0x08, 1, 0x0a, 2, 0, 0x12, 0x13, 0x14, 0x16, 0x1f, 0x20, 0x22
    nop
    end expressions

    function rare
    .cfi_signal_frame
    .cfi_undefined %rip
    nop
    .cfi_same_value %rbx
    .cfi_register %rip, %rcx
    nop
    .cfi_escape 0x14, 7, 0
    .cfi_def_cfa %r10, 0
    nop
    .cfi_escape 0x2e, 16
    .cfi_escape 0x11, 3, 0x7e
    .cfi_escape 0x12, 7, 0x7e
    .cfi_escape 0x13, 0x7e
    .cfi_escape 0x16, 7, 2, 0x77, 8
    nop
    end rare

    function personal
.Lhere:
    .cfi_personality 0x9b, .Lpointer
    .cfi_lsda 0x1b, .Lhere
    nop
    end personal

    .data
.Lpointer:
    .quad 0
    .section .note.GNU-stack, "", @progbits
