/* Any TxnRequest that passes the door, applied in small slices to a small store; then its ranges once more as reads.
 * The answer must be encodable, and an error must leave nothing behind. */
#include "base/check.h"
#include "base/pb.h"
#include "tests/support/kv_bed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_ranges(struct kv_bed *bed, const Etcdserverpb__TxnRequest *txn)
{
    for (size_t i = 0; i < txn->n_success; i++) {
        int error;
        if (txn->success[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
            kv_bed_range(bed, txn->success[i]->request_range, &error);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kv_bed bed;
    int error;
    kv_bed_open(&bed, NULL);
    bed.budget = size == 0 ? 1 : 1 + data[0] % 16;
    for (int i = 0; i < 6; i++) {
        static const char *const keys[] = {"a", "b", "c", "\x0a\x01", "abc", "a"};
        kv_bed_put(&bed, keys[i], "value", 0);
    }
    kv_bed_compact(&bed, 3);
    Etcdserverpb__TxnRequest *txn = (Etcdserverpb__TxnRequest *)pb_unpack(&etcdserverpb__txn_request__descriptor,
                                                                          bytes_of(data, size), &bed.arena, NULL);
    if (txn != NULL && kv_check_txn(txn, 0) == 0) {
        int64_t revision = kv_revision(bed.kv);
        Etcdserverpb__TxnResponse *response = kv_bed_txn(&bed, txn, &error);
        CHECK((response == NULL) == (error != 0));
        CHECK(kv_revision(bed.kv) == revision || error == 0);
        if (response != NULL) {
            pb_pack(&response->base, &bed.arena);
        }
        read_ranges(&bed, txn);
    }
    kv_bed_close(&bed);
    return 0;
}
