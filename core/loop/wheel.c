/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel: placing, moving down as time passes, firing. */
#include "core/loop/wheel.h"

#include <assert.h>
#include <stdbool.h>

static int64_t tick_of(int64_t ns) {
    return ns <= 0 ? 0 : ns / SX_NS_PER_MS;
}

static void ring_init(sx_timer *head) {
    head->next = head->previous = head;
}

static void ring_append(sx_timer *head, sx_timer *timer) {
    timer->next = head;
    timer->previous = head->previous;
    head->previous->next = timer;
    head->previous = timer;
}

static void ring_remove(sx_timer *timer) {
    timer->previous->next = timer->next;
    timer->next->previous = timer->previous;
    timer->next = timer->previous = NULL;
}

/* Moves all of one ring to the end of another. */
static void ring_move(sx_timer *from, sx_timer *to) {
    if (from->next == from) return;
    from->next->previous = to->previous;
    from->previous->next = to;
    to->previous->next = from->next;
    to->previous = from->previous;
    ring_init(from);
}

void sx_wheel_init(sx_wheel *wheel, int64_t now_ns) {
    wheel->tick = tick_of(now_ns);
    wheel->count = 0;
    for (int level = 0; level < SX_WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (int slot = 0; slot < SX_WHEEL_SLOTS; slot++) ring_init(&wheel->slots[level][slot]);
    }
}

static void place(sx_wheel *wheel, sx_timer *timer) {
    int64_t tick = tick_of(timer->due_ns);
    if (tick < wheel->tick) tick = wheel->tick; /* overdue: at the next advance */
    uint64_t differing = (uint64_t)(tick ^ wheel->tick) | (SX_WHEEL_SLOTS - 1);
    int level = (63 - __builtin_clzll(differing)) / 6;
    unsigned slot = (unsigned)((uint64_t)tick >> (6 * level)) & (SX_WHEEL_SLOTS - 1);
    sx_timer *head = &wheel->slots[level][slot];
    uint64_t bit = UINT64_C(1) << slot;
    if ((wheel->occupied[level] & bit) == 0 || timer->due_ns < head->due_ns) head->due_ns = timer->due_ns;
    wheel->occupied[level] |= bit;
    ring_append(head, timer);
}

void sx_wheel_set(sx_wheel *wheel, sx_timer *timer, int64_t due_ns) {
    if (sx_timer_is_set(timer)) sx_wheel_cancel(wheel, timer);
    timer->due_ns = due_ns;
    place(wheel, timer);
    wheel->count++;
}

void sx_wheel_cancel(sx_wheel *wheel, sx_timer *timer) {
    sx_timer *neighbour = timer->next;
    ring_remove(timer);
    wheel->count--;
    if (neighbour->next != neighbour) return;
    /* The ring is empty, so the neighbour is its head: a slot's, or that of the ring an advance is firing. */
    uintptr_t offset = (uintptr_t)neighbour - (uintptr_t)&wheel->slots[0][0];
    if (offset >= sizeof wheel->slots) return;
    size_t index = offset / sizeof(sx_timer);
    wheel->occupied[index / SX_WHEEL_SLOTS] &= ~(UINT64_C(1) << (index % SX_WHEEL_SLOTS));
}

int64_t sx_wheel_nearest_ns(const sx_wheel *wheel) {
    int64_t nearest = INT64_MAX;
    for (int level = 0; level < SX_WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] == 0) continue;
        /* Slots of a level are in the order of time, but a level may hold earlier deadlines than the one below. */
        int64_t due_ns = wheel->slots[level][__builtin_ctzll(wheel->occupied[level])].due_ns;
        if (due_ns < nearest) nearest = due_ns;
    }
    return nearest;
}

/* Takes out what lies before or in tick's slot of each level that the step to tick touches. */
static void take_passed(sx_wheel *wheel, int64_t tick, sx_timer *out) {
    for (int level = 0; level < SX_WHEEL_LEVELS; level++) {
        unsigned slot = (unsigned)((uint64_t)tick >> (6 * level)) & (SX_WHEEL_SLOTS - 1);
        /* A level is 48 bits at most: shifting by 6 * (level + 1) <= 48 is defined. */
        bool same_above =
            ((uint64_t)tick >> (6 * (level + 1))) == ((uint64_t)wheel->tick >> (6 * (level + 1)));
        uint64_t passed = same_above ? UINT64_MAX >> (63 - slot) : UINT64_MAX;
        for (uint64_t bits = wheel->occupied[level] & passed; bits != 0; bits &= bits - 1) {
            ring_move(&wheel->slots[level][__builtin_ctzll(bits)], out);
        }
        wheel->occupied[level] &= ~passed;
        if (same_above) return;
    }
}

size_t sx_wheel_advance(sx_wheel *wheel, int64_t now_ns) {
    if (wheel->count == 0) { /* nothing to move: levels are chosen from here on */
        int64_t tick = tick_of(now_ns);
        if (tick > wheel->tick) wheel->tick = tick;
        return 0;
    }
    if (sx_wheel_nearest_ns(wheel) > now_ns) return 0;
    sx_timer passed, due;
    ring_init(&passed);
    ring_init(&due);
    int64_t tick = tick_of(now_ns);
    if (tick < wheel->tick) tick = wheel->tick;
    take_passed(wheel, tick, &passed);
    wheel->tick = tick;
    while (passed.next != &passed) {
        sx_timer *timer = passed.next;
        ring_remove(timer);
        if (timer->due_ns <= now_ns) {
            ring_append(&due, timer);
        } else {
            place(wheel, timer);
        }
    }
    size_t fired = 0;
    while (due.next != &due) { /* one at a time: each may cancel the next */
        sx_timer *timer = due.next;
        ring_remove(timer);
        wheel->count--;
        fired++;
        timer->fire_on_loop(timer);
    }
    return fired;
}
