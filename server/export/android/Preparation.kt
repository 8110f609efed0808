package digits

/**
 * Any picture of one digit → 28 × 28 in MNIST's manner: its box scaled to 20 pixels, its centre of mass in the middle.
 *
 * The same bytes as the project's core/data/prepare.py, in whole numbers only. It needs nothing of Android.
 */
object Preparation {
    const val SIDE = 28
    const val BOX = 20 // pixels of the longer side
    const val FAINT = 32 // ink below this is no part of the box

    /** [ink]: a byte a pixel, row by row, 0 = paper, 255 = ink. Without ink, an empty field. */
    fun prepared(ink: ByteArray, width: Int, height: Int): ByteArray {
        require(width > 0 && height > 0 && ink.size == width * height) { "${ink.size} bytes are not $width × $height" }
        val field = ByteArray(SIDE * SIDE)
        val columns = (0 until width).filter { x -> (0 until height).any { y -> value(ink, y * width + x) >= FAINT } }
        val rows = (0 until height).filter { y -> (0 until width).any { x -> value(ink, y * width + x) >= FAINT } }
        if (rows.isEmpty()) return field
        val crop = Array(rows.last() - rows.first() + 1) { y ->
            LongArray(columns.last() - columns.first() + 1) { x ->
                value(ink, (rows.first() + y) * width + columns.first() + x).toLong()
            }
        }
        place(scaled(crop), field)
        return field
    }

    private fun value(ink: ByteArray, at: Int) = ink[at].toInt() and 255

    /** The mean of the old pixels by the area that each new one covers of them, rounded half up. */
    private fun scaled(crop: Array<LongArray>): Array<LongArray> {
        val (high, wide) = crop.size to crop[0].size
        val longer = maxOf(high, wide)
        val tall = side(high, longer)
        val broad = side(wide, longer)
        val area = high.toLong() * wide
        val squeezed = Array(tall) { i -> LongArray(wide) { x -> sum(i, high, tall) { y -> crop[y][x] } } }
        return Array(tall) { i -> LongArray(broad) { k -> (2 * sum(k, wide, broad) { x -> squeezed[i][x] } + area) / (2 * area) } }
    }

    private fun side(side: Int, longer: Int) = maxOf(1, (2 * BOX * side + longer) / (2 * longer))

    /** Σ of old pixels by how much the new one covers of each, in 1 / after of an old one. */
    private inline fun sum(new: Int, before: Int, after: Int, old: (Int) -> Long): Long {
        val start = new.toLong() * before
        val end = start + before
        var total = 0L
        for (i in (start / after).toInt()..((end - 1) / after).toInt()) {
            total += (minOf(end, (i + 1L) * after) - maxOf(start, i.toLong() * after)) * old(i)
        }
        return total
    }

    /** Into the field, its centre of mass at (14, 14), as far as it fits. */
    private fun place(small: Array<LongArray>, field: ByteArray) {
        val total = maxOf(small.sumOf { it.sum() }, 1L)
        val top = start(small.indices.sumOf { y -> y * small[y].sum() }, total, small.size)
        val left = start(small[0].indices.sumOf { x -> small.sumOf { x * it[x] } }, total, small[0].size)
        for (y in small.indices) for (x in small[0].indices) field[(top + y) * SIDE + left + x] = small[y][x].toByte()
    }

    private fun start(moment: Long, total: Long, side: Int) =
        Math.floorDiv((SIDE + 1) * total - 2 * moment, 2 * total).toInt().coerceIn(0, SIDE - side)
}
