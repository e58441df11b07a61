#include "base/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

enum { SENDERS = 4, MESSAGES = 5000 };

struct message {
    struct list node;
    int sender, number;
};

struct sender {
    pthread_t thread;
    struct mailbox *box;
    struct message messages[MESSAGES];
};

static struct sender senders[SENDERS];

static void *send_all(void *argument)
{
    struct sender *s = argument;
    for (int i = 0; i < MESSAGES; i++) {
        mailbox_post(s->box, &s->messages[i].node);
    }
    return NULL;
}

static void test_every_message_arrives_once_and_in_its_senders_order(void **state)
{
    (void)state;
    struct mailbox box;
    mailbox_init(&box, NULL, NULL);
    for (int s = 0; s < SENDERS; s++) {
        senders[s].box = &box;
        for (int i = 0; i < MESSAGES; i++) {
            senders[s].messages[i] = (struct message){.sender = s, .number = i};
        }
        assert_int_equal(pthread_create(&senders[s].thread, NULL, send_all, &senders[s]), 0);
    }
    int next[SENDERS] = {0}, total = 0;
    while (total < SENDERS * MESSAGES) {
        struct list got;
        list_init(&got);
        assert_true(mailbox_wait(&box, &got));
        for (struct list *node; (node = list_pop_front(&got)) != NULL; total++) {
            struct message *m = container_of(node, struct message, node);
            assert_int_equal(m->number, next[m->sender]++);
        }
    }
    for (int s = 0; s < SENDERS; s++) {
        pthread_join(senders[s].thread, NULL);
    }
    struct list none;
    list_init(&none);
    assert_false(mailbox_take(&box, &none));
    mailbox_close(&box);
    assert_false(mailbox_wait(&box, &none));
    mailbox_destroy(&box);
}

static void count_wake(void *owner)
{
    ++*(int *)owner;
}

static void test_only_a_post_into_an_empty_box_wakes(void **state)
{
    (void)state;
    int wakes = 0;
    struct mailbox box;
    struct message a, b, c;
    struct list got;
    mailbox_init(&box, count_wake, &wakes);
    list_init(&got);
    mailbox_post(&box, &a.node);
    mailbox_post(&box, &b.node);
    assert_int_equal(wakes, 1);
    assert_true(mailbox_take(&box, &got));
    mailbox_post(&box, &c.node);
    assert_int_equal(wakes, 2);
    assert_true(mailbox_take(&box, &got));
    assert_ptr_equal(list_pop_front(&got), &a.node);
    assert_ptr_equal(list_pop_front(&got), &b.node);
    assert_ptr_equal(list_pop_front(&got), &c.node);
    assert_null(list_pop_front(&got));
    mailbox_destroy(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message_arrives_once_and_in_its_senders_order),
        cmocka_unit_test(test_only_a_post_into_an_empty_box_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
