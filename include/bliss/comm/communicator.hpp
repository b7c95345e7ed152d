#pragma once

#include "bliss/core/check.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace bliss::comm {

/// What can travel as plain bytes between the ranks of one program.
template <class T>
concept Transferable = std::is_trivially_copyable_v<T>;

/// What stands in for "every rank" where a root rank can be named.
inline constexpr int k_all_ranks = -1;

/// A group of ranks that communicate. Owns its own MPI communicator: what it is made from is duplicated, so its messages
/// never mix with another's. Every call throws MpiError with the operation and MPI's own text.
///
/// Counts and sizes are 64-bit; transfers above what one MPI call takes are cut into pieces.
class Communicator {
public:
    /// All ranks of the run. @collective Over all ranks.
    static Communicator world();

    /// This rank alone.
    static Communicator self();

    /// A second communicator over the same ranks. @collective
    [[nodiscard]] Communicator duplicate() const;

    /// The ranks that give the same colour (>= 0) form a communicator, ordered by key, then by rank. @collective
    [[nodiscard]] Communicator split(int color, int key) const;

    [[nodiscard]] int rank() const { return rank_; }
    [[nodiscard]] int size() const { return size_; }

    /// The ranks that share this machine's memory. Its rank says which local GPU is this rank's. @collective
    [[nodiscard]] Communicator node() const;

    /// @collective
    void barrier() const;

    /// Gives root's value to all ranks. @collective
    template <Transferable T>
    void broadcast(T& value, int root = 0) const {
        broadcast_bytes(std::as_writable_bytes(std::span{&value, 1}), root);
    }
    void broadcast(std::string& text, int root = 0) const {
        broadcast_size(text, root);
        broadcast_bytes(std::as_writable_bytes(std::span{text}), root);
    }
    template <Transferable T>
    void broadcast(std::vector<T>& values, int root = 0) const {
        broadcast_size(values, root);
        broadcast_bytes(std::as_writable_bytes(std::span{values}), root);
    }

    /// Replaces each element by its sum over ranks; all ranks give the same number of elements. @collective
    void all_reduce_sum(std::span<float> values) const;
    void all_reduce_sum(std::span<double> values) const;
    void all_reduce_sum(std::span<std::int64_t> values) const;
    [[nodiscard]] std::int64_t all_reduce_sum(std::int64_t value) const;
    [[nodiscard]] double all_reduce_sum(double value) const;

    /// Greatest and least over ranks. @collective
    [[nodiscard]] std::int64_t all_reduce_max(std::int64_t value) const;
    [[nodiscard]] double all_reduce_max(double value) const;
    [[nodiscard]] std::int64_t all_reduce_min(std::int64_t value) const;
    [[nodiscard]] double all_reduce_min(double value) const;

    /// Sum of the values of lower ranks; 0 on rank 0. @collective
    [[nodiscard]] std::int64_t exclusive_scan_sum(std::int64_t value) const;

    /// One value of each rank, in rank order. @collective
    template <Transferable T>
    [[nodiscard]] std::vector<T> all_gather(const T& value) const {
        return gather_v(std::span{&value, 1}, k_all_ranks);
    }

    /// All ranks' elements joined in rank order, on `root` (empty elsewhere) or on every rank. @collective
    template <Transferable T>
    [[nodiscard]] std::vector<T> gather_v(std::span<const T> mine, int root = k_all_ranks) const {
        const std::vector<std::int64_t> sizes = gather_sizes(static_cast<std::int64_t>(mine.size_bytes()));
        std::int64_t total = 0;
        for (const std::int64_t size : sizes) total += size;
        std::vector<T> all;
        if (root == k_all_ranks || root == rank_) all.resize(static_cast<std::size_t>(total) / sizeof(T));
        gather_bytes(std::as_bytes(mine), sizes, std::as_writable_bytes(std::span{all}), root);
        return all;
    }
    template <Transferable T>
    [[nodiscard]] std::vector<T> gather_v(const std::vector<T>& mine, int root = k_all_ranks) const {
        return gather_v(std::span<const T>{mine}, root);
    }

    /// Sends one value to another rank; returns once `value` may change. `tag` (0 to 32766) tells kinds of messages apart.
    template <Transferable T>
    void send(const T& value, int to, int tag) const {
        send_bytes(std::as_bytes(std::span{&value, 1}), to, tag);
    }

    /// The same for a text, to be received by `receive_text`.
    void send(const std::string& text, int to, int tag) const;
    [[nodiscard]] std::string receive_text(int from, int tag) const;

    /// Waits for one value from a rank.
    template <Transferable T>
    [[nodiscard]] T receive(int from, int tag) const {
        T value;
        receive_bytes(std::as_writable_bytes(std::span{&value, 1}), from, tag);
        return value;
    }

    /// The rank that has sent a message of this tag not yet received, if there is one; does not wait.
    [[nodiscard]] std::optional<int> poll(int tag) const;

    /// Most bytes of one MPI call; smaller values let a test reach the cutting into pieces.
    void set_piece_bytes(std::int64_t bytes) { piece_bytes_ = bytes; }

    Communicator(Communicator&&) noexcept;
    Communicator& operator=(Communicator&&) noexcept;
    /// Frees the MPI communicator; @collective but while an exception unwinds or after MPI has ended, when it does nothing.
    ~Communicator();

    struct Handle;
    /// For modules that hand the communicator to a library (bliss/comm/native.hpp).
    [[nodiscard]] const Handle& handle() const { return *handle_; }

private:
    explicit Communicator(std::unique_ptr<Handle> handle);

    template <class Container>
    void broadcast_size(Container& container, int root) const {
        auto size = static_cast<std::int64_t>(container.size());
        broadcast(size, root);
        container.resize(static_cast<std::size_t>(size));
    }
    void broadcast_bytes(std::span<std::byte> bytes, int root) const;
    [[nodiscard]] std::vector<std::int64_t> gather_sizes(std::int64_t size) const;
    void gather_bytes(std::span<const std::byte> mine, std::span<const std::int64_t> sizes, std::span<std::byte> all,
                      int root) const;
    void send_bytes(std::span<const std::byte> bytes, int to, int tag) const;
    void receive_bytes(std::span<std::byte> bytes, int from, int tag) const;

    std::unique_ptr<Handle> handle_;
    int rank_ = 0;
    int size_ = 1;
    std::int64_t piece_bytes_ = std::int64_t{1} << 30;
};

}  // namespace bliss::comm
